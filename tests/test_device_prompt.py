"""The language model reads one transcript for all its work, as much of it as fits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_client.device.prompt import HISTORY_CHARACTERS, plain, prompt_for
from routing.turns import HistoryItem, Message, ToolCall, ToolResult

HISTORY = (
    Message("system", "Be brief."),
    Message("user", "What's the weather\nlike?"),
    ToolCall("call_1", "get_weather", "{}"),
    ToolResult("call_1", "{}"),
    Message("assistant", "It is sunny. "),
)


def test_the_conversation_stands_behind_the_examples() -> None:
    prompt = prompt_for(HISTORY)
    assert prompt.opening.endswith("\nUser: what's the weather like\nAssistant: It is sunny.\n")
    assert prompt.opening.startswith(prompt_for(()).opening)


def test_the_question_and_the_reply_share_every_word_before_the_reply() -> None:
    prompt = prompt_for(HISTORY)
    assert prompt.question("And tomorrow?") == f"{prompt.opening}User: and tomorrow"
    assert prompt.reply("And tomorrow?") == f"{prompt.question('and tomorrow')}\nAssistant:"
    assert prompt.question("And tomorrow, my friend").startswith(prompt.question("And tomorrow,"))


def test_instructions_are_kept_short() -> None:
    first_line = prompt_for((), "You are a\npirate.").opening.split("\n")[0]
    assert first_line.endswith("friendly. You are a pirate.")
    assert len(prompt_for((), "word " * 1000).opening) < len(prompt_for(()).opening) + 250


@given(texts=st.lists(st.text(min_size=1, max_size=400), max_size=20))
def test_the_latest_of_a_long_conversation_is_kept(texts: list[str]) -> None:
    history: list[HistoryItem] = [
        Message("assistant" if index % 2 else "user", text) for index, text in enumerate(texts)
    ]
    recent = prompt_for(history).opening.removeprefix(prompt_for(()).opening)
    assert len(recent) <= HISTORY_CHARACTERS + len(texts)
    assert all(line.startswith(("User: ", "Assistant: ")) for line in recent.splitlines() if line.strip())


def test_plain_words_are_one_line_in_lower_case_without_a_final_mark() -> None:
    assert plain("  What's UP,\n Doc?! ") == "what's up, doc"
