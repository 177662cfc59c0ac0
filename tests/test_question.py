"""What a turn asks for, by its words."""

from __future__ import annotations

import pytest

from routing.question import LONGEST_READ, understand
from routing.turns import Message, Turn

TURN = Turn(session_id="session", turn_id="turn", index=0)


def wants(words: str) -> tuple[bool, bool]:
    question = understand(TURN, words, 2.0)
    assert question.speech_sec == 2.0
    return question.wants_knowledge, question.wants_long_answer


@pytest.mark.parametrize(
    "words",
    [
        "Who was the first person on the moon?",
        "what is the capital of Australia",
        "What's your name, and who invented you?",
        "When did Rome fall?",
        "Why is the sky blue?",
        "How does a fridge work?",
        "Why do iguanas swim?",
        "Tell me about Bach.",
    ],
)
def test_what_one_must_know(words: str) -> None:
    assert wants(words) == (True, False)


@pytest.mark.parametrize(
    "words", ["Tell me a long story about the sea.", "write me a poem", "How do I do that, step by step?"]
)
def test_what_takes_many_sentences(words: str) -> None:
    assert wants(words) == (False, True)


def test_what_takes_both() -> None:
    assert wants("Explain how to make a good cup of tea.") == (True, True)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "What time is it?",
        "What is twelve times seven?",
        "What is twenty percent of eighty?",
        "How are you today?",
        "Set a timer for two minutes.",
        "What day is it?",
        "Tell me a joke.",
        "Tell me about yourself.",
        "Why do you ask?",
        "How was it?",
        "What do you like about music?",
        "It was the best of times, it was the worst of times.",
    ],
)
def test_all_else_is_ordinary(words: str) -> None:
    assert wants(words) == (False, False)


def test_typed_words_are_read_where_nothing_was_said_and_a_result_is_none() -> None:
    typed = Turn(session_id="s", turn_id="t", index=1, history=(Message("user", "Who wrote Faust?"),))
    answered = Turn(session_id="s", turn_id="t", index=1, history=(*typed.history, Message("assistant", "Goethe.")))
    assert understand(typed, "", 0.0).wants_knowledge
    assert not understand(answered, "", 0.0).wants_knowledge


def test_of_a_long_speech_both_ends_are_read() -> None:
    filler = "well " * LONGEST_READ
    assert wants(f"{filler} who wrote Faust?") == (True, False)
    assert wants(f"Who wrote Faust? {filler}") == (True, False)
    assert wants(f"{filler} who wrote Faust? {filler}") == (False, False)
