"""Arguments are what the user said: read off where possible, chosen by the model from the user's words where not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.device.arguments import (
    Ask,
    asks_in,
    plan_arguments,
    prompt_for,
    settled,
)
from edge_client.device.form_field import is_question_for_argument
from edge_client.device.grammar import (
    LONGEST_RUN,
    Choice,
    Expression,
    Figure,
    Maybe,
    Series,
    Text,
    gbnf,
    only_text,
    spans,
)
from edge_client.device.sentence import Sentence
from routing.turns import Tool

GBNF_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\[[^]]*\]|[()|?]|\s+|root ::=')

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}


def accepted_by(grammar: str) -> re.Pattern[str]:
    """The grammar as a regular expression: ours have no recursion, so there is one."""
    tokens = [match[0] for match in GBNF_TOKEN.finditer(grammar)]
    assert "".join(tokens) == grammar, "the grammar has something that this test does not know"
    parts = (re.escape(json.loads(token)) if token.startswith('"') else token.strip() for token in tokens)
    return re.compile("".join(part for part in parts if part != "root ::="))


def texts_of(expression: Expression) -> Iterator[str]:
    """Every text of an expression, with one figure to stand for all."""
    match expression:
        case Text(text):
            yield text
        case Series(()):
            yield ""
        case Series((first, *rest)):
            yield from (head + tail for head in texts_of(first) for tail in texts_of(Series(tuple(rest))))
        case Choice(options):
            yield from (text for option in options for text in texts_of(option))
        case Maybe(part):
            yield from ("", *texts_of(part))
        case Figure():
            yield "7"


def tool(name: str, description: str, *, required: list[str] | None = None, **properties: Schema) -> Tool:
    needed = list(properties) if required is None else required
    return Tool(name, description, {"type": "object", "properties": properties, "required": needed})


WEATHER = tool("get_weather", "Get the current weather for a city", city=TEXT)
LIGHT = tool(
    "set_light",
    "Turn a light on or off in a room",
    room=TEXT,
    state={"type": "string", "enum": ["on", "off"]},
)
SUM = tool("add_numbers", "Add two numbers", a=NUMBER, b=NUMBER)
SEARCH = tool("search", "Search the web for a query", query=TEXT)


def filled(asked: Tool, text: str, *choices: str) -> Any:
    """The arguments for ``text``, where the model's choices are ``choices`` or else the longest allowed ones."""
    plan, _ = plan_arguments(asked, text)
    wanted = list(choices)
    answers: dict[Ask, Any] = {}
    for ask in asks_in(plan):
        texts = sorted(texts_of(ask.expression), key=len)
        answer = json.dumps(wanted.pop(0)) if wanted else texts[-1]
        assert answer in texts, f"{answer} is none of {texts}"
        answers[ask] = json.loads(answer)
    return settled(plan, answers)


# -- the grammar -------------------------------------------------------------------------------------------------------


@given(
    words=st.lists(st.text(min_size=1, max_size=6).filter(str.isprintable), min_size=1, max_size=8),
    data=st.data(),
)
def test_a_grammar_of_spans_accepts_exactly_the_runs_of_words(words: list[str], data: st.DataObject) -> None:
    places = st.sets(st.integers(0, len(words) - 1), min_size=1)
    starts, ends = data.draw(places), data.draw(places)
    runs = {" ".join(words[start : end + 1]) for start in starts for end in ends if start <= end}
    if not runs:
        return
    expression = spans(words, starts, ends)
    assert set(texts_of(expression)) == runs
    accepted = accepted_by(gbnf(expression))
    assert all(accepted.fullmatch(run) for run in runs)
    assert not accepted.fullmatch(" ".join([*words, "more"]))


def test_runs_are_short_however_long_the_sentence_is() -> None:
    words = [f"w{place}" for place in range(200)]
    expression = spans(words, range(200), range(200))
    assert max(len(text.split()) for text in texts_of(expression)) == LONGEST_RUN
    assert len(gbnf(expression)) < 50_000


def test_a_grammar_of_figures_is_closed() -> None:
    accepted = accepted_by(gbnf(Series((Text(" "), Figure()))))
    assert [bool(accepted.fullmatch(text)) for text in (" 12", " -3", " 1234", " 12345", " ", " 1.5")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip


def test_one_text_alone_needs_no_model() -> None:
    assert only_text(Series((Text('"'), Text("a"), Text('"')))) == '"a"'
    assert only_text(Choice((Text("a"), Text("b")))) is None
    assert only_text(Series((Text("a"), Maybe(Text("b"))))) is None


# -- four typical tools ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "text", "arguments"),
    [
        (WEATHER, "What's the weather like in Paris?", {"city": "Paris"}),
        (WEATHER, "Tell me New York's weather right now.", {"city": "New York"}),
        (WEATHER, "How is the weather today in the city of Rome, please?", {"city": "Rome"}),
        (LIGHT, "Turn on the kitchen light.", {"room": "kitchen", "state": "on"}),
        (LIGHT, "Lights off in the living room!", {"room": "living room", "state": "off"}),
        (LIGHT, "Turn off the light on the porch.", {"room": "porch", "state": "off"}),
        (SUM, "What is five plus three?", {"a": 5, "b": 3}),
        (SUM, "Add twenty-five to 1,000.5", {"a": 25, "b": 1000.5}),
        (SUM, "Can you add minus two and one hundred and six for me?", {"a": -2, "b": 106}),
        (SEARCH, "Search the web for cheap flights to Rome.", {"query": "cheap flights to Rome"}),
        (
            SEARCH,
            "Please look up the history of the Tower of London",
            {"query": "history of the Tower of London"},
        ),
        (SEARCH, "Google how to fix a flat tire please", {"query": "how to fix a flat tire"}),
        (SEARCH, "Can you search who won the World Cup in 1998?", {"query": "who won the World Cup in 1998"}),
    ],
)
def test_what_was_said_is_filled_in(asked: Tool, text: str, arguments: Any) -> None:
    assert filled(asked, text) == arguments
    assert plan_arguments(asked, text).missing == ()


@pytest.mark.parametrize(
    ("asked", "text", "questions"),
    [
        (WEATHER, "What's the weather like?", ["Which city?"]),
        (LIGHT, "Turn the light on.", ["Which room?"]),
        (LIGHT, "Make the bedroom bright.", ["Which state: on or off?"]),
        (SUM, "Add five.", ["What is the b?"]),
        (SEARCH, "Search the web, please.", ["What is the query?"]),
    ],
)
def test_what_was_not_said_is_asked_for(asked: Tool, text: str, questions: list[str]) -> None:
    assert [missing.question for missing in plan_arguments(asked, text).missing] == questions


def test_the_model_may_choose_only_among_the_users_words() -> None:
    (ask,) = asks_in(plan_arguments(WEATHER, "Do I need an umbrella in London?").plan)
    assert set(texts_of(ask.expression)) == {'"umbrella"', '"umbrella in London"', '"London"'}
    assert filled(WEATHER, "Do I need an umbrella in London?", "London") == {"city": "London"}
    assert prompt_for(ask, "Do I need an umbrella in London?").endswith(
        "Sentence: Do I need an umbrella in London\ncity:"
    )


# -- other schemas -----------------------------------------------------------------------------------------------------


def test_optional_fields_are_left_out_unless_mentioned() -> None:
    forecast = tool(
        "forecast",
        "Weather forecast for a city",
        required=["city"],
        city=TEXT,
        days={"type": "integer"},
        unit={"type": "string", "enum": ["celsius", "fahrenheit"]},
        hourly={"type": "boolean"},
        language=TEXT,
    )
    assert filled(forecast, "Weather forecast for Oslo.") == {"city": "Oslo"}
    assert filled(forecast, "Hourly weather forecast for Oslo for three days in Celsius", "Oslo") == {
        "city": "Oslo",
        "days": 3,
        "unit": "celsius",
        "hourly": True,
    }


def test_a_schema_that_requires_nothing_still_gets_what_was_said() -> None:
    weather = tool("get_weather", "Weather for a city", required=[], city=TEXT)
    assert filled(weather, "Weather in Paris") == {"city": "Paris"}
    assert filled(weather, "How's the weather?") == {}


def test_strict_schemas_get_null_for_what_was_not_said() -> None:
    weather = tool(
        "get_weather",
        "Weather for a city",
        city={"anyOf": [TEXT, {"type": "null"}]},
        days={"type": ["integer", "null"]},
    )
    assert filled(weather, "How's the weather?") == {"city": None, "days": None}
    assert filled(weather, "Weather in Paris for five days", "Paris") == {"city": "Paris", "days": 5}


def test_nested_schemas_and_references_are_followed() -> None:
    booking = Tool(
        "book_table",
        "Book a table at a restaurant",
        {
            "type": "object",
            "$defs": {"Party": {"type": "object", "properties": {"size": {"type": "integer"}}, "required": ["size"]}},
            "properties": {"party": {"$ref": "#/$defs/Party"}, "kind": {"const": "dinner"}},
            "required": ["party", "kind"],
        },
    )
    assert filled(booking, "Book a table for four people.") == {"party": {"size": 4}, "kind": "dinner"}


@pytest.mark.parametrize(
    ("items", "text", "expected"),
    [
        (
            TEXT,
            "Put oat milk, eggs and brown bread on the shopping list.",
            ["oat milk", "eggs", "brown bread"],
        ),
        ({"type": "integer"}, "Put 3, 4 and five on the shopping list.", [3, 4, 5]),
        ({"enum": ["red", "green", "blue"]}, "Put blue and red on the list.", ["red", "blue"]),
    ],
)
def test_lists_hold_everything_mentioned(items: Schema, text: str, expected: list[Any]) -> None:
    shopping = tool("add_to_list", "Put items on the shopping list", items={"type": "array", "items": items})
    assert filled(shopping, text) == {"items": expected}


def test_numbers_that_do_not_fit_are_passed_over() -> None:
    volume = tool("set_volume", "Set the volume", level={"type": "integer", "minimum": 0, "maximum": 10})
    assert filled(volume, "Set the volume to 20, no, to 7") == {"level": 7}


def test_of_more_numbers_than_fields_the_model_chooses() -> None:
    volume = tool("set_volume", "Set the volume", level={"type": "integer"})
    (ask,) = asks_in(plan_arguments(volume, "Set volume 7 on speaker 2").plan)
    assert set(texts_of(ask.expression)) == {"7", "2"}


@pytest.mark.parametrize(
    ("text", "on"), [("Turn on the fan.", True), ("Turn the fan off.", False), ("Don't run the fan.", False)]
)
def test_yes_and_no_are_heard_in_little_words(text: str, on: bool) -> None:
    fan = tool("set_fan", "Control the fan", on={"type": "boolean"})
    assert filled(fan, text) == {"on": on}


@pytest.mark.parametrize(
    ("kind", "name", "question"),
    [
        ("boolean", "express_delivery", "Yes or no: express delivery?"),
        ("integer", "people", "How many people?"),
        ("number", "amount", "What is the amount?"),
        ("integer", "guests", "How many guests?"),
        ("string", "deliveryAddress", "Which delivery address?"),
    ],
)
def test_questions_fit_what_is_missing(kind: str, name: str, question: str) -> None:
    order = Tool("order", "Order something", {"properties": {name: {"type": kind}}, "required": [name]})
    (missing,) = plan_arguments(order, "Order something!").missing
    assert missing.question == question
    assert is_question_for_argument(missing.question)


@pytest.mark.parametrize(
    ("text", "origin", "destination"),
    [
        ("Find a train from New York to the Grand Canyon.", "New York", "Grand Canyon"),
        ("Find a train to Rome from Paris please.", "Paris", "Rome"),
        ("Find a Paris to Rome train.", "Paris", "Rome"),
    ],
)
def test_the_ends_of_a_journey_are_told_apart_by_their_prepositions(text: str, origin: str, destination: str) -> None:
    train = tool("find_train", "Find a train", origin=TEXT, destination=TEXT)
    assert filled(train, text) == {"origin": origin, "destination": destination}


def test_a_conversion_needs_no_word_before_what_is_converted() -> None:
    convert = tool("convert", "Convert an amount of money", amount=NUMBER, source=TEXT, target=TEXT)
    arguments = {"amount": 50, "source": "dollars", "target": "euros"}
    assert filled(convert, "Convert fifty dollars to euros.") == arguments
    assert filled(convert, "Convert $50 to euros.") == arguments


def test_a_message_is_what_follows_saying() -> None:
    message = tool("send_message", "Send a message to somebody", recipient=TEXT, text=TEXT)
    sentence = "Send a message to Anna saying I'm running late."
    assert filled(message, sentence, "Anna") == {"recipient": "Anna", "text": "I'm running late"}


def test_examples_in_a_description_do_not_hide_the_words_of_the_user() -> None:
    weather = tool("get_weather", "Weather for a city, e.g. Paris or Berlin", city=TEXT)
    assert filled(weather, "Weather in Paris") == {"city": "Paris"}


schemas = st.recursive(
    st.sampled_from([TEXT, NUMBER, {"type": "boolean"}, {"enum": ["red", 5, None]}, {}, {"type": ["string", "null"]}]),
    lambda parts: (
        st.builds(lambda part: {"type": "array", "items": part}, parts)
        | st.builds(
            lambda fields, required: {"type": "object", "properties": fields, "required": required},
            st.dictionaries(st.sampled_from(["city", "query", "count"]), parts, max_size=3),
            st.lists(st.sampled_from(["city", "query", "count"]), max_size=3),
        )
    ),
    max_leaves=6,
)


@given(
    fields=st.dictionaries(st.sampled_from(["city", "query", "count", "on"]), schemas, max_size=4),
    text=st.lists(st.sampled_from('red five in Paris "quoted" the on, 7 and \\ é query'.split()), max_size=12),
)
def test_any_schema_and_any_sentence_give_arguments_with_the_fields_required(fields: Schema, text: list[str]) -> None:
    asked, sentence = tool("do_it", "Do something", **fields), " ".join(text)
    arguments = filled(asked, sentence)
    assert set(arguments) == set(fields)
    for ask in asks_in(plan_arguments(asked, sentence).plan):
        accepted = accepted_by(gbnf(ask.expression))
        assert all(map(accepted.fullmatch, texts_of(ask.expression)))


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"properties": None},
        {"properties": {"a": None}, "required": "a"},
        {
            "properties": {"a": {"$ref": "#/$defs/a"}},
            "$defs": {"a": {"$ref": "#/$defs/a"}},
            "required": ["a"],
        },
        {"properties": {"a": {"anyOf": [5]}}, "required": ["a", "b"]},
    ],
)
def test_schemas_that_make_no_sense_do_no_harm(parameters: Schema) -> None:
    assert isinstance(plan_arguments(Tool("t", "", parameters), "hello world").plan, dict)


def test_a_schema_that_contains_itself_is_followed_only_so_far() -> None:
    node: Schema = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}, "required": ["next"]}
    parameters = {"$defs": {"Node": node}, **node}
    assert json.dumps(plan_arguments(Tool("t", "", parameters), "hello").plan).count("next") <= 6


# -- the sentence ------------------------------------------------------------------------------------------------------


def test_words_are_cleaned_of_marks_and_possessives() -> None:
    sentence = Sentence("“What’s” Berlin's (warm) weather, my dear?")
    assert sentence.words == ("What's", "Berlin", "warm", "weather", "my", "dear")
    assert sentence.commas == {3}
    assert sentence.mentions("warm weather")
    assert not sentence.mentions("weather dear")
    assert not sentence.mentions("")


def test_names_are_told_by_their_capital_and_by_what_stands_before_them() -> None:
    sentence = Sentence("Will it rain on the coast of Portugal")
    assert [sentence.presents_as_name(words) for words in ("Portugal", "coast", "Will")] == [
        True,
        False,
        False,
    ]
    assert [sentence.presents_with_preposition(words) for words in ("coast", "rain")] == [True, False]
