"""What a second replica must hear to go on, and what of its telling is new."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.turn_ledger import TurnLedger
from routing.errors import BackendError
from routing.turns import (
    REPLY_SAMPLE_RATE,
    SPEECH_SAMPLE_RATE,
    AudioChunk,
    Heard,
    ReplyEnd,
    ReplyEvent,
    Samples,
    TextDelta,
)
from routing.turns import Turn as SaidTurn
from routing.wire import Ask, Commit, Message, Open, RollBack, Speech, Told, decode, encode

HEARD = Heard("what time is it", is_final=True, end_of_sentence=0.9)
WORDS = "It is ten past nine."
SOUND: Samples = np.arange(-400, 400, dtype=np.float32) / np.float32(32768)
WORD_PLACES, SOUND_PLACES = st.integers(0, len(WORDS)), st.integers(0, len(SOUND))


def speech(samples: int) -> Speech:
    return Speech(AudioChunk(np.zeros(samples, np.float32), SPEECH_SAMPLE_RATE))


def sound(start: int, stop: int) -> AudioChunk:
    return AudioChunk(SOUND[start:stop], REPLY_SAMPLE_RATE)


def ledger_of(*said: Message) -> TurnLedger:
    ledger = TurnLedger(Open(SaidTurn(session_id="s", turn_id="t", index=0)))
    for message in said:
        ledger.say(message, encode(message))
    return ledger


def tell(ledger: TurnLedger, *events: ReplyEvent, attempt: int = 1) -> None:
    for event in events:
        ledger.tell(Told(attempt, event))


def again(ledger: TurnLedger) -> list[object]:
    return [
        len(message.chunk.samples) if isinstance(message, Speech) else message
        for message in map(decode, ledger.again())
    ]


def passed_on(ledger: TurnLedger, *events: ReplyEvent, attempt: int = 1) -> list[ReplyEvent]:
    second = ledger.second_telling()
    passed = [message for event in events for message in second.pass_on(Told(attempt, event))]
    return [message.event for message in passed if isinstance(message, Told)]


def test_a_second_replica_hears_what_the_first_heard_in_the_same_order() -> None:
    ledger = ledger_of(speech(160), Ask(1), speech(170), RollBack(1), speech(180), Ask(2), speech(190))
    assert again(ledger) == [160, 170, 180, Ask(2), 190]
    ledger.say(Commit(2), encode(Commit(2)))
    assert again(ledger) == [160, 170, 180, Ask(2), 190, Commit(2)]


def test_nothing_is_asked_again_that_was_rolled_back() -> None:
    ledger = ledger_of(speech(160), Ask(1), RollBack(1))
    tell(ledger, HEARD, TextDelta("no"))  # it was on the way
    assert again(ledger) == [160]
    assert passed_on(ledger, HEARD) == [HEARD]


def test_a_turn_is_over_with_the_end_of_its_committed_answer() -> None:
    ledger = ledger_of(speech(160), Ask(1))
    tell(ledger, ReplyEnd())
    assert not ledger.is_over
    ledger.say(Commit(1), encode(Commit(1)))
    assert ledger.is_over


def test_of_the_sound_that_was_told_only_its_length_is_kept() -> None:
    ledger = ledger_of(speech(160), Ask(1), Commit(1))
    tell(ledger, *[sound(0, 800)] * 100)
    assert ledger._telling.samples == 80_000
    assert not ledger._telling.others


@settings(max_examples=40)
@given(WORD_PLACES, SOUND_PLACES, st.lists(WORD_PLACES, max_size=5), st.lists(SOUND_PLACES, max_size=5))
def test_words_and_sound_are_told_once_however_they_are_cut(
    told_words: int, told_samples: int, word_places: list[int], sound_places: list[int]
) -> None:
    word_cuts = sorted({0, len(WORDS), *word_places})
    sound_cuts = sorted({0, len(SOUND), *sound_places})
    ledger = ledger_of(speech(160), Ask(1), Commit(1))
    tell(ledger, HEARD, TextDelta(WORDS[:told_words]), sound(0, told_samples))
    second: list[ReplyEvent] = [
        HEARD,
        *(TextDelta(WORDS[start:stop]) for start, stop in pairwise(word_cuts)),
        *(sound(start, stop) for start, stop in pairwise(sound_cuts)),
        ReplyEnd(),
    ]
    passed = passed_on(ledger, *second)
    chunks = [event.samples for event in passed if isinstance(event, AudioChunk)]
    assert "".join(event.text for event in passed if isinstance(event, TextDelta)) == WORDS[told_words:]
    np.testing.assert_array_equal(np.concatenate([SOUND[:0], *chunks]), SOUND[told_samples:])
    assert [event for event in passed if isinstance(event, Heard | ReplyEnd)] == [ReplyEnd()]


def test_an_end_that_took_other_times_is_told_once() -> None:
    ledger = ledger_of(speech(160), Ask(1))
    tell(ledger, HEARD, TextDelta("Yes."), ReplyEnd({"decode": 10.0}))
    assert passed_on(ledger, HEARD, TextDelta("Yes."), ReplyEnd({"decode": 12.0})) == []


def test_words_that_are_judged_otherwise_are_the_same_words() -> None:
    ledger = ledger_of(speech(160), Ask(1))
    tell(ledger, HEARD)
    assert passed_on(ledger, Heard(HEARD.text, is_final=True, end_of_sentence=0.8), TextDelta("Yes.")) == [
        TextDelta("Yes.")
    ]


def test_what_was_understood_on_the_way_is_not_told_again() -> None:
    ledger = ledger_of(speech(160), Ask(1))
    tell(ledger, HEARD)
    assert passed_on(ledger, Heard("what", is_final=False), attempt=0) == []


@pytest.mark.parametrize(
    "second",
    [[Heard("what a time", is_final=True)], [HEARD, TextDelta("It was")], [HEARD, TextDelta("It"), ReplyEnd()]],
)
def test_another_answer_is_not_passed_off_as_the_first(second: list[ReplyEvent]) -> None:
    ledger = ledger_of(speech(160), Ask(1), Commit(1))
    tell(ledger, HEARD, TextDelta("It is"))
    with pytest.raises(BackendError, match="the second replica"):
        passed_on(ledger, *second)
