"""What is asked, and whether it was understood."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_client.audio import write_wav
from edge_client.caller.interview import file_name
from edge_client.caller.question import first_sentence, recorded
from edge_client.caller.wording import same_words, words_of
from routing.errors import InvalidRequest
from routing.turns import Samples
from tests.scripted import tone

RATE = 24_000


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), np.float32)


def test_the_first_sentence_is_cut_in_the_pauses_around_it() -> None:
    reading = np.concatenate(
        (silence(0.5), tone(0.4), silence(0.5), tone(1), silence(0.2), tone(1), silence(0.6), tone(3))
    )
    sentence = first_sentence(reading, RATE)
    assert len(sentence) / RATE == pytest.approx(0.2 + 2.2 + 0.2, abs=0.01)
    assert not sentence[: int(0.19 * RATE)].any()
    assert not sentence[-int(0.19 * RATE) :].any()


def test_a_short_recording_is_taken_whole() -> None:
    short = np.concatenate((silence(0.1), tone(0.5)))
    assert np.array_equal(first_sentence(short, RATE), short)


def test_a_recording_is_read_at_the_rate_of_the_microphone(tmp_path: Path) -> None:
    write_wav(tmp_path / "hello.wav", tone(0.5), RATE)
    question = recorded(tmp_path / "hello.wav")
    assert question.text == "hello.wav"
    assert len(question.samples) == RATE // 2


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"missing\.wav"):
        recorded(tmp_path / "missing.wav")


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ("What is twelve times seven?", "what is 12 times 7"),
        ("What is twenty percent of eighty?", "What is 20% of 80?"),
        ("Set a timer for two minutes.", "Set a timer for 2 minutes"),
        ("What's up?", "what’s up"),
        ("Twenty-five", "twenty five"),
        ("What day is it today?", "What day is it to-day?"),
        ("OK, thanks", "Okay, thanks."),
    ],
)
def test_spelling_is_not_wording(said: str, understood: str) -> None:
    assert same_words(said, understood)


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ("What time is it?", "What time is it now?"),
        ("What is twelve times seven?", "What is twelve times eleven?"),
        ("Tell me a joke.", ""),
    ],
)
def test_other_words_are_noticed(said: str, understood: str) -> None:
    assert not same_words(said, understood)


def test_no_words() -> None:
    assert words_of("… !") == ()


@pytest.mark.parametrize(
    ("title", "name"),
    [("01 What time is it?", "01-what-time-is-it"), ("../é", "reply"), ("a" * 99, "a" * 60)],
)
def test_replies_are_named_after_their_questions(title: str, name: str) -> None:
    assert file_name(title) == name
