"""What was told of a reply and what was never heard is known from its words and its sound."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from routing.turns import Reminder, ReplyEvent, TextDelta, ToolCall
from routing.voiced import CHARACTERS_PER_SEC, Voiced
from tests.contenders import sound

CLAUSES = ("It is sunny today, ", "with a light breeze. ", "Tomorrow it will rain.")
PACES = (12.0, 15.0, 18.0)  # characters a second, of a slow voice, a usual one and a quick one


def voiced(*events: ReplyEvent) -> Voiced:
    told = Voiced()
    for event in events:
        told.feed(event)
    return told


def spoken(text: str, pace: float = CHARACTERS_PER_SEC) -> ReplyEvent:
    return sound(len(text) / pace)


def test_a_voice_that_speaks_clause_by_clause_is_followed_at_any_pace() -> None:
    for pace in PACES:
        told = Voiced()
        for clause in CLAUSES:
            told.feed(TextDelta(clause))
            assert told.unspoken() == clause.strip()
            told.feed(spoken(clause, pace))
            assert told.unspoken() == ""


def test_words_that_were_written_ahead_are_said_from_the_clause_that_had_begun() -> None:
    told = voiced(TextDelta("".join(CLAUSES)), spoken(CLAUSES[0] + CLAUSES[1][:8]))
    assert told.unspoken() == (CLAUSES[1] + CLAUSES[2])


def test_words_that_run_ahead_of_their_sound_in_small_steps_are_not_taken_for_heard() -> None:
    text = "".join(CLAUSES)
    told = Voiced()
    for start in range(0, len(text), 24):  # as a model tells that writes six tokens for each second of sound
        told.feed(TextDelta(text[start : start + 24]))
        told.feed(sound(0.96))
    assert told.unspoken() == (CLAUSES[2])
    told.feed(sound(2.0))
    assert told.unspoken() == ""


def test_half_a_clause_is_not_said_by_somebody_else() -> None:
    told = voiced(TextDelta("It is sunny today. Tomorrow it"), spoken("It is sunny today. Tom"))
    assert told.unspoken() == ""
    assert not told.has_only_begun


def test_a_reply_has_only_begun_until_something_stands_by_itself() -> None:
    assert voiced(TextDelta("It is sunny to"), sound(0.5)).has_only_begun
    assert voiced(sound(1.0)).has_only_begun
    assert not voiced(sound(5.0)).has_only_begun
    assert not voiced(TextDelta("Yes. It is"), sound(0.5)).has_only_begun


def test_what_took_effect_must_not_happen_again() -> None:
    assert not voiced(Reminder(60, "Tea!")).has_only_begun
    assert not voiced(ToolCall("call_1", "lamp", "{}")).has_only_begun


def test_written_words_are_heard_as_soon_as_they_are_told() -> None:
    told = Voiced("text")
    told.feed(TextDelta("It is sunny today. Tomorrow"))
    assert told.unspoken() == ""


@given(st.text(max_size=80), st.floats(0, 20))
def test_what_is_unspoken_is_a_part_of_the_text(text: str, seconds: float) -> None:
    told = voiced(TextDelta(text), sound(seconds))
    assert told.unspoken() in text
