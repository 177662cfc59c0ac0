"""The language model reads one transcript for all its work, as much of it as fits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_client.device.prompt import HISTORY_BYTES, HISTORY_LINES, plain, prompt_for
from routing.turns import HistoryItem, Message, ToolCall, ToolResult

HISTORY = (
    Message("system", "Be brief."),
    Message("user", "What's the weather\nlike?"),
    ToolCall("call_1", "get_weather", "{}"),
    ToolResult("call_1", "{}"),
    Message("assistant", "It is sunny. "),
)


def test_words_that_point_back_find_the_conversation_behind_the_examples() -> None:
    prompt = prompt_for(HISTORY)
    assert prompt.opening == prompt_for(()).opening
    assert prompt.recent == "User: what's the weather like\nAssistant: It is sunny.\n"
    assert prompt.question("Will it stay so?") == f"{prompt.opening}{prompt.recent}User: will it stay so"
    assert prompt.question("And tomorrow?") == f"{prompt.opening}{prompt.recent}User: and tomorrow"


def test_words_that_stand_alone_are_read_without_the_conversation() -> None:
    prompt = prompt_for(HISTORY)
    assert prompt.question("Who painted the Mona Lisa?") == f"{prompt.opening}User: who painted the mona lisa"


def test_the_question_and_the_reply_share_every_word_before_the_reply() -> None:
    prompt = prompt_for(HISTORY)
    assert prompt.reply("Will it rain?") == f"{prompt.question('will it rain')}\nAssistant:"
    assert prompt.question("What is it made of today").startswith(prompt.ahead("What is it made of to"))


def test_a_beginning_is_read_without_the_conversation_until_it_points_back() -> None:
    prompt = prompt_for(HISTORY)
    assert prompt.ahead("what") == f"{prompt.opening}User: "
    assert prompt.ahead("what is it") == f"{prompt.opening}User: what is"
    assert prompt.ahead("what is it made") == f"{prompt.opening}{prompt.recent}User: what is it"


def test_instructions_are_kept_short() -> None:
    first_line = prompt_for((), "You are a\npirate.").opening.split("\n")[0]
    assert first_line.endswith("friendly. You are a pirate.")
    assert len(prompt_for((), "word " * 1000).opening) < len(prompt_for(()).opening) + 250


@given(texts=st.lists(st.text(min_size=1, max_size=400), max_size=20))
def test_the_latest_of_a_long_conversation_is_kept(texts: list[str]) -> None:
    history: list[HistoryItem] = [
        Message("assistant" if index % 2 else "user", text) for index, text in enumerate(texts)
    ]
    lines = prompt_for(history).recent.split("\n")[:-1]
    assert len(lines) <= HISTORY_LINES
    assert sum(len(line.encode()) for line in lines) <= HISTORY_BYTES
    assert all(line.startswith(("User: ", "Assistant: ")) for line in lines)


def test_plain_words_are_one_line_in_lower_case_without_a_final_mark() -> None:
    assert plain("  What's UP,\n Doc?! ") == "what's up, doc"


any_text = st.text(st.characters(exclude_categories=()), max_size=3000)  # JSON may hold halves of characters


@given(text=any_text, instructions=any_text)
def test_no_script_makes_a_prompt_too_long(text: str, instructions: str) -> None:
    prompt = prompt_for([Message("user", text), Message("assistant", text)], instructions)
    assert len(prompt.reply(f"it {text}").encode()) < len(prompt_for(()).opening.encode()) + 1800
