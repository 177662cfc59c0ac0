"""A request is told from a remark, and kindred verbs are known."""

from __future__ import annotations

import pytest

from edge_client.device.tools import begins_with_verb_of, is_statement, phrases
from routing.turns import Tool

SEARCH = Tool("web_search", "Find information on the internet", {})
LIGHT = Tool("set_light", "Switch a lamp on or off", {})


def test_a_tool_is_compared_by_name_and_description() -> None:
    assert phrases(SEARCH) == (
        "web search",
        "Find information on the internet",
        "web search: Find information on the internet",
    )
    assert phrases(Tool("getWeather", "", {})) == ("get weather",)
    assert phrases(Tool("天気", "", {})) == ("天気",)


@pytest.mark.parametrize(
    ("tool", "text", "same"),
    [
        (SEARCH, "Please look up the Tower of London.", True),
        (SEARCH, "Can you google that for me?", True),
        (SEARCH, "Turn on the light.", False),
        (LIGHT, "Could you turn the lamp off?", True),
        (LIGHT, "Set a timer.", False),  # to set, get or make something says too little
        (LIGHT, "", False),
    ],
)
def test_kindred_verbs_ask_for_the_same_tool(tool: Tool, text: str, same: bool) -> None:
    assert begins_with_verb_of(tool, text) is same


@pytest.mark.parametrize(
    ("text", "statement"),
    [
        ("I like songs.", True),
        ("My house is warm.", True),
        ("It's cold today.", True),
        ("I need the weather in Rome.", False),
        ("I'm going to Oslo, will it rain there?", False),
        ("How's the weather?", False),
        ("", False),
    ],
)
def test_remarks_are_no_requests(text: str, statement: bool) -> None:
    assert is_statement(text) is statement
