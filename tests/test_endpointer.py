"""The end-of-turn decision, told as stories in frames of 32 ms: S is speech, "." silence, "~" neither of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from math import inf, nan
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_client.endpointer import (
    FRAME_SAMPLES,
    Endpointer,
    EndpointerSettings,
    EndpointerStatistics,
    EndpointSignal,
    SpeechDoubtful,
    SpeechDropped,
    SpeechOnset,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    TurnEnded,
)
from edge_client.models.silero import VAD_FRAME_SAMPLES

PROBABILITY = {"S": 0.9, ".": 0.05, "~": 0.42}

# The defaults in frames, to make the stories readable.
MINIMUM_SPEECH = 5
MINIMUM_INTERRUPTION = 16
PAUSE = 2
LULL = 6
DOUBT = 22
COMPLETE, UNSURE, INCOMPLETE, MAXIMUM = 8, 20, 38, 63
SILENCE = 16


def frames(count: int) -> int:
    """The position after ``count`` frames."""
    return count * FRAME_SAMPLES


def endpointer(**settings: Any) -> Endpointer:
    return Endpointer(EndpointerSettings(**settings))


def hear(listener: Endpointer, pattern: str) -> list[EndpointSignal]:
    return [signal for letter in pattern for signal in listener.feed(PROBABILITY[letter])]


def score(listener: Endpointer, audio: float | None, text: float | None) -> None:
    if audio is not None:
        listener.score_audio(audio)
    if text is not None:
        listener.score_text(text)


# -- where speech ends -----------------------------------------------------------------------------------------------


def paused(*sounds: int) -> SpeechPaused:
    """The pause after a turn whose last frames of speech hold so many samples of sound."""
    listener = endpointer()
    hear(listener, "SSSSSSSS")
    for sound in sounds:
        listener.feed(PROBABILITY["S"], sound=sound)
    first, second = (listener.feed(PROBABILITY["."], sound=0) for _ in range(2))
    assert first == []
    (pause,) = second
    assert isinstance(pause, SpeechPaused)
    return pause


@pytest.mark.parametrize(
    ("sounds", "speech_end"),
    [
        pytest.param((FRAME_SAMPLES,), frames(9), id="to the end of its last frame"),
        pytest.param((128,), frames(8) + 128, id="to the middle of it"),
        pytest.param((128, 0), frames(8) + 128, id="the detector was sure for a frame more"),
        pytest.param((0, 0, 0, 0), frames(10), id="a whisper, which is no silence"),
    ],
)
def test_speech_ends_with_its_sound(sounds: tuple[int, ...], speech_end: int) -> None:
    assert paused(*sounds) == SpeechPaused(speech_end)


def test_a_hold_counts_from_there_and_is_not_rounded() -> None:
    listener = endpointer(mode="silence", silence_ms=200)
    hear(listener, "SSSSSSSS")
    listener.feed(PROBABILITY["S"], sound=128)  # 24 ms before its end
    signals = [signal for _ in range(6) for signal in listener.feed(PROBABILITY["."], sound=0)]
    assert signals[-1] == TurnEnded(speech_end=frames(8) + 128, at=frames(15), reason="silence")


# -- a turn begins ---------------------------------------------------------------------------------------------------


def test_two_frames_of_speech_are_an_onset_dated_back_to_the_first() -> None:
    assert hear(endpointer(), "...SS") == [SpeechOnset(frames(3))]


def test_speech_of_the_minimum_length_is_a_turn() -> None:
    assert hear(endpointer(), "..SSSSS") == [SpeechOnset(frames(2)), SpeechStarted(frames(2))]


def test_a_minimum_shorter_than_an_onset_makes_it_a_turn_at_once() -> None:
    assert hear(endpointer(minimum_speech_ms=32), "SS") == [SpeechOnset(0), SpeechStarted(0)]


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param("S.S.S.S.S.S", id="lone frames"),
        pytest.param("~~~~~~~~~~~~", id="probabilities that hover"),
        pytest.param("S~....S~....", id="lone frames with a tail"),
    ],
)
def test_flicker_is_no_onset(pattern: str) -> None:
    assert hear(endpointer(), pattern) == []


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param("SSSSSSS", id="yes, 220 ms"),
        pytest.param("SS~~SSS", id="a weak vowel"),
        pytest.param("SS.S.SS", id="a stop consonant and a flickering end"),
        pytest.param("SS...SSS", id="two syllables"),
        pytest.param("S~S~S~SS", id="a detector that hesitates"),
    ],
)
def test_a_short_word_survives_an_unstable_detector(pattern: str) -> None:
    signals = hear(endpointer(), pattern)
    assert signals == [SpeechOnset(0), SpeechStarted(0)]


def test_a_cough_is_dropped_after_a_lull() -> None:
    listener = endpointer()
    assert hear(listener, "SSS.....") == [SpeechOnset(0)]
    assert hear(listener, ".") == [SpeechDropped(frames(9))]
    assert not listener.in_turn


def test_a_cough_with_a_hovering_tail_is_dropped_as_soon() -> None:
    assert hear(endpointer(), "SSS~~~~~~") == [SpeechOnset(0), SpeechDropped(frames(9))]


def test_coughs_do_not_add_up() -> None:
    signals = hear(endpointer(), "SSS......SSS......")
    assert signals == [
        SpeechOnset(0),
        SpeechDropped(frames(9)),
        SpeechOnset(frames(9)),
        SpeechDropped(frames(18)),
    ]


# -- a turn pauses, goes on and ends ---------------------------------------------------------------------------------


def paused_after(spoken: int, **settings: Any) -> Endpointer:
    """Someone who spoke ``spoken`` frames from the beginning and has just paused."""
    listener = endpointer(**settings)
    signals = hear(listener, "S" * spoken + "." * PAUSE)
    assert signals[-1] == SpeechPaused(frames(spoken))
    return listener


def test_a_plain_turn_ends_early_when_sound_and_words_are_complete() -> None:
    listener = endpointer()
    assert hear(listener, "." * 5 + "S" * 30 + "..") == [
        SpeechOnset(frames(5)),
        SpeechStarted(frames(5)),
        SpeechPaused(frames(35)),
    ]
    score(listener, 0.9, 0.4)
    assert hear(listener, "." * 20) == [TurnEnded(frames(35), frames(35 + COMPLETE), "semantic")]
    assert not listener.in_turn
    assert listener.statistics() == EndpointerStatistics(
        onsets=1, doubts=0, drops=0, turns=1, pauses=1, resumes=0, ends=1
    )


@pytest.mark.parametrize(
    ("audio", "text", "hold", "reason"),
    [
        (0.9, 0.3, COMPLETE, "semantic"),
        (0.2, 0.9, COMPLETE, "semantic"),  # words that surely end a sentence need little of the sound
        (0.95, 0.1, COMPLETE, "semantic"),
        (0.9, 0.0, UNSURE, "silence"),
        (0.02, 0.9, UNSURE, "silence"),
        (0.9, None, UNSURE, "silence"),
        (None, 0.9, UNSURE, "silence"),
        (0.1, None, UNSURE, "silence"),
        (0.4, 0.1, INCOMPLETE, "silence"),
        (nan, 0.9, INCOMPLETE, "silence"),
        (0.9, nan, INCOMPLETE, "silence"),
        (None, None, MAXIMUM, "timeout"),
    ],
)
def test_the_evidence_sets_the_hold(audio: float | None, text: float | None, hold: int, reason: str) -> None:
    listener = paused_after(10)
    score(listener, audio, text)
    assert hear(listener, "." * (hold - PAUSE - 1)) == []
    [end] = hear(listener, ".")
    assert isinstance(end, TurnEnded)
    assert (end.speech_end, end.at, end.reason) == (frames(10), frames(10 + hold), reason)


def test_late_evidence_decides_on_the_next_frame() -> None:
    listener = paused_after(10)
    listener.score_text(0.5)
    assert hear(listener, "." * 12) == []
    listener.score_audio(0.8)
    assert hear(listener, ".") == [TurnEnded(frames(10), frames(10 + PAUSE + 13), "semantic")]


def test_a_second_opinion_replaces_the_first() -> None:
    listener = paused_after(10)
    score(listener, 0.9, 0.0)
    listener.score_text(0.6)
    assert hear(listener, "." * (COMPLETE - PAUSE))[0] == TurnEnded(frames(10), frames(10 + COMPLETE), "semantic")


def test_hesitation_rolls_back_and_the_turn_goes_on() -> None:
    listener = paused_after(10)
    score(listener, 0.2, 0.01)
    assert hear(listener, "." * 20) == []
    assert hear(listener, "SS") == [SpeechResumed(frames(32))]
    assert hear(listener, "SSS..") == [SpeechPaused(frames(37))]
    score(listener, 0.9, 0.9)
    assert hear(listener, "." * 10) == [TurnEnded(frames(37), frames(37 + COMPLETE), "semantic")]


def test_what_was_said_of_one_pause_does_not_count_for_the_next() -> None:
    listener = paused_after(10)
    score(listener, 0.9, 0.9)
    hear(listener, "SSSS..")
    assert hear(listener, "." * (MAXIMUM - PAUSE - 1)) == []


def test_evidence_without_a_pause_is_ignored() -> None:
    listener = endpointer()
    score(listener, 0.9, 0.9)
    hear(listener, "S" * 10)
    score(listener, 0.9, 0.9)
    assert hear(listener, "." * (MAXIMUM - 1)) == [SpeechPaused(frames(10))]


def test_no_end_is_decided_while_the_user_may_be_going_on() -> None:
    listener = paused_after(10)
    hear(listener, "." * (COMPLETE - PAUSE - 1))
    score(listener, 0.9, 0.9)
    assert hear(listener, "S") == []
    assert hear(listener, "S") == [SpeechResumed(frames(10 + COMPLETE - 1))]


def test_a_click_in_the_pause_only_delays_the_end() -> None:
    listener = paused_after(10)
    hear(listener, "." * (COMPLETE - PAUSE - 1))
    score(listener, 0.9, 0.9)
    assert hear(listener, "S") == []
    assert hear(listener, ".") == [TurnEnded(frames(10), frames(10 + COMPLETE + 1), "semantic")]


def test_a_click_with_a_hovering_tail_delays_the_end_by_a_lull() -> None:
    listener = paused_after(10)
    score(listener, 0.9, 0.9)
    assert hear(listener, "." * 5 + "S" + "~" * (LULL - 1)) == []
    assert hear(listener, "~") == [TurnEnded(frames(10), frames(18 + LULL), "semantic")]


def test_a_voice_that_fades_into_noise_pauses_after_a_lull() -> None:
    listener = endpointer()
    hear(listener, "S" * 10)
    assert hear(listener, "~" * (LULL - 1)) == []
    assert hear(listener, "~") == [SpeechPaused(frames(10))]
    assert hear(listener, "~" * 100) == [TurnEnded(frames(10), frames(10 + MAXIMUM), "timeout")]


def test_a_gap_inside_a_word_is_no_pause() -> None:
    assert hear(endpointer(), "SSSSS.SSS~SS.SS") == [SpeechOnset(0), SpeechStarted(0)]


def test_speech_right_after_the_end_is_a_new_onset() -> None:
    listener = paused_after(10)
    score(listener, 0.9, 0.9)
    hear(listener, "." * (COMPLETE - PAUSE))
    assert hear(listener, "SSSSS") == [
        SpeechOnset(frames(10 + COMPLETE)),
        SpeechStarted(frames(10 + COMPLETE)),
    ]


def test_a_turn_that_never_ends_is_cut() -> None:
    listener = endpointer(maximum_turn_sec=1.6)  # 50 frames
    assert hear(listener, "." + "S" * 50)[-1] == TurnEnded(frames(51), frames(51), "length")
    assert hear(listener, "SS") == [SpeechOnset(frames(51))]


def test_a_turn_that_grows_too_long_in_a_pause_is_cut() -> None:
    listener = paused_after(10, maximum_turn_sec=0.64)  # 20 frames
    assert hear(listener, "." * 8) == [TurnEnded(frames(10), frames(20), "length")]


@pytest.mark.parametrize(("eagerness", "hold"), [("low", 12), ("medium", 8), ("auto", 8), ("high", 6)])
def test_eagerness_scales_the_holds(eagerness: str, hold: int) -> None:
    listener = paused_after(10, eagerness=eagerness)
    score(listener, 0.9, 0.9)
    assert hear(listener, "." * 20) == [TurnEnded(frames(10), frames(10 + hold), "semantic")]


# -- a word falls into the reply -------------------------------------------------------------------------------------


def doubtful(spoken: int = 7) -> Endpointer:
    """Someone said a word of ``spoken`` frames while the reply was playing."""
    listener = endpointer()
    listener.replying = True
    assert hear(listener, "S" * spoken + "..") == [SpeechOnset(0), SpeechDoubtful(frames(spoken))]
    return listener


def test_a_long_interruption_is_a_turn_by_itself() -> None:
    listener = endpointer()
    listener.replying = True
    assert hear(listener, "S" * (MINIMUM_INTERRUPTION - 1)) == [SpeechOnset(0)]
    assert hear(listener, "S") == [SpeechStarted(0)]


def test_a_confirmed_word_is_a_turn_whose_pause_has_been_running() -> None:
    listener = doubtful(7)
    score(listener, 0.9, 0.6)
    assert hear(listener, "." * 4) == []
    assert listener.confirm() == [SpeechStarted(0), SpeechPaused(frames(7))]
    assert hear(listener, "." * 2) == [TurnEnded(frames(7), frames(7 + COMPLETE), "semantic")]


def test_a_word_confirmed_late_ends_on_the_next_frame() -> None:
    listener = doubtful(7)
    score(listener, 0.9, 0.6)
    hear(listener, "." * (COMPLETE + 3))
    listener.confirm()
    assert hear(listener, ".") == [TurnEnded(frames(7), frames(7 + PAUSE + COMPLETE + 4), "semantic")]


def test_a_rejected_word_is_dropped() -> None:
    listener = doubtful(7)
    hear(listener, "...")
    assert listener.reject() == [SpeechDropped(frames(12))]
    assert listener.confirm() == []


def test_a_word_that_nobody_judges_drops_itself() -> None:
    listener = doubtful(7)
    assert hear(listener, "." * (DOUBT - PAUSE)) == [SpeechDropped(frames(7 + DOUBT))]


def test_speech_during_the_doubt_continues_the_onset() -> None:
    listener = doubtful(7)
    assert hear(listener, "....SS") == [SpeechResumed(frames(13))]
    assert listener.reject() == []
    assert hear(listener, "S" * (MINIMUM_INTERRUPTION - 9)) == [SpeechStarted(0)]


def test_a_doubt_is_not_given_up_while_the_user_may_be_going_on() -> None:
    listener = doubtful(7)
    hear(listener, "." * (DOUBT - PAUSE - 1))
    assert hear(listener, "SS") == [SpeechResumed(frames(7 + DOUBT - 1))]


def test_speech_during_the_doubt_can_be_a_turn_at_once() -> None:
    spoken = MINIMUM_INTERRUPTION - 2
    listener = doubtful(spoken)
    assert hear(listener, "....SS") == [SpeechResumed(frames(spoken + 6)), SpeechStarted(0)]


def test_a_word_confirmed_while_the_user_goes_on_is_a_turn_without_a_pause() -> None:
    listener = doubtful(6)
    hear(listener, "...SS")
    assert listener.confirm() == [SpeechStarted(0)]
    assert hear(listener, "...") == [SpeechPaused(frames(13))]


def test_a_cough_into_the_reply_is_dropped_without_doubt() -> None:
    listener = endpointer()
    listener.replying = True
    assert hear(listener, "SSSS" + "." * LULL) == [SpeechOnset(0), SpeechDropped(frames(4 + LULL))]


def test_a_word_begun_before_the_reply_needs_no_confirmation() -> None:
    listener = endpointer()
    hear(listener, "SS")
    listener.replying = True
    assert hear(listener, "SSS") == [SpeechStarted(0)]


def test_confirmations_without_a_doubt_are_ignored() -> None:
    listener = endpointer()
    assert listener.confirm() == listener.reject() == []
    hear(listener, "S" * 10)
    assert listener.confirm() == listener.reject() == []
    assert hear(listener, "..") == [SpeechPaused(frames(10))]


# -- the client decides ----------------------------------------------------------------------------------------------


def test_commit_ends_a_turn_in_the_middle_of_speech() -> None:
    listener = endpointer()
    hear(listener, "S" * 10 + ".")
    assert listener.commit() == [TurnEnded(frames(10), frames(11), "commit")]
    assert listener.commit() == []


def test_commit_ends_a_pause_at_once() -> None:
    listener = paused_after(10)
    assert listener.commit() == [TurnEnded(frames(10), frames(12), "commit")]


def test_commit_makes_a_turn_of_an_onset() -> None:
    listener = endpointer()
    hear(listener, "SS.")
    assert listener.commit() == [SpeechStarted(0), TurnEnded(frames(2), frames(3), "commit")]


def test_commit_makes_a_turn_of_a_doubtful_word() -> None:
    assert doubtful(7).commit() == [SpeechStarted(0), TurnEnded(frames(7), frames(9), "commit")]


@pytest.mark.parametrize("pattern", ["SSS", "S" * 10, "S" * 10 + "..."])
def test_clear_forgets_what_was_open(pattern: str) -> None:
    listener = endpointer()
    hear(listener, pattern)
    assert listener.clear() == [SpeechDropped(frames(len(pattern)))]
    assert listener.clear() == []
    assert hear(listener, "." * 100) == []


def test_clear_forgets_half_an_onset_too() -> None:
    listener = endpointer()
    hear(listener, "S")
    assert listener.clear() == []
    assert hear(listener, "S") == []


# -- modes and settings ----------------------------------------------------------------------------------------------


def test_silence_mode_counts_silence_and_nothing_else() -> None:
    listener = paused_after(10, mode="silence", eagerness="high")
    score(listener, 0.9, 0.9)
    assert hear(listener, "." * 50) == [TurnEnded(frames(10), frames(10 + SILENCE), "silence")]


def test_silence_mode_may_be_quicker_than_a_pause() -> None:
    listener = endpointer(mode="silence", silence_ms=32)
    hear(listener, "S" * 10)
    assert hear(listener, "..") == [
        SpeechPaused(frames(10)),
        TurnEnded(frames(10), frames(12), "silence"),
    ]


def test_manual_mode_only_counts() -> None:
    listener = endpointer(mode="manual")
    assert hear(listener, "S" * 30 + "." * 100) == []
    assert listener.position == frames(130)
    assert listener.commit() == listener.clear() == listener.confirm() == []


def test_the_position_may_begin_anywhere() -> None:
    listener = Endpointer(EndpointerSettings(), position=1_000)
    assert hear(listener, ".SS") == [SpeechOnset(1_000 + frames(1))]


def test_frames_are_those_of_the_voice_detector() -> None:
    assert FRAME_SAMPLES == VAD_FRAME_SAMPLES


def test_a_low_threshold_still_knows_silence() -> None:
    listener = endpointer(threshold=0.1)
    assert follow(listener, [feeding(0.12)] * 10)[0] == SpeechOnset(0)
    assert follow(listener, [feeding(0.04)] * PAUSE) == [SpeechPaused(frames(10))]


def test_what_is_not_a_number_is_silence() -> None:
    listener = endpointer()
    hear(listener, "S" * 10)
    assert follow(listener, [feeding(nan)] * PAUSE) == [SpeechPaused(frames(10))]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"silence_duration_ms": 500}, "silence_duration_ms"),
        ({"mode": "server_vad"}, "mode"),
        ({"threshold": 0}, "threshold"),
        ({"threshold": nan}, "threshold"),
        ({"pause_ms": -1}, "pause_ms"),
        ({"maximum_turn_sec": inf}, "maximum_turn_sec"),
        ({"minimum_interruption_ms": 100}, "minimum_speech_ms <= minimum_interruption_ms"),
        ({"lull_ms": 32}, "pause_ms <= lull_ms <= doubt_ms"),
        ({"lull_ms": 2100, "doubt_ms": 2100}, "lull_ms <= maximum_hold_ms"),
        ({"complete_score": 0.5}, "incomplete_score <= complete_score"),
        ({"complete_hold_ms": 700}, r"complete_hold_ms <= unsure_hold_ms .* got \[700, 640, 1200, 2000\]"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EndpointerSettings(**settings)


# -- whatever happens ------------------------------------------------------------------------------------------------

type Step = Callable[[Endpointer], list[EndpointSignal]]

LETTERS: dict[type[EndpointSignal], str] = {
    SpeechOnset: "O",
    SpeechDoubtful: "?",
    SpeechDropped: "x",
    SpeechStarted: "S",
    SpeechPaused: "P",
    SpeechResumed: "R",
    TurnEnded: "E",
}
GRAMMAR = re.compile(r"(O(\?R)*(\??x|\??S(PR)*P?[Ex]))*")


def feeding(probability: float) -> Step:
    return lambda listener: listener.feed(probability)


def scoring(audio: float, text: float) -> Step:
    def step(listener: Endpointer) -> list[EndpointSignal]:
        score(listener, audio, text)
        return []

    return step


def replying(value: bool) -> Step:
    def step(listener: Endpointer) -> list[EndpointSignal]:
        listener.replying = value
        return []

    return step


probabilities = st.one_of(st.sampled_from(sorted(PROBABILITY.values())), st.floats(0, 1), st.just(nan))
flickers = st.lists(st.builds(feeding, probabilities), min_size=1, max_size=8)
words = st.builds(
    lambda spoken, silent: [feeding(0.9)] * spoken + [feeding(0.05)] * silent,
    st.integers(1, 15),
    st.one_of(st.integers(1, 8), st.integers(1, 70)),
)
calls = st.one_of(
    st.builds(scoring, st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])),
    st.builds(replying, st.booleans()),
    st.sampled_from([Endpointer.confirm, Endpointer.reject, Endpointer.commit, Endpointer.clear]),
).map(lambda call: [call])
conversations: st.SearchStrategy[list[Step]] = st.builds(
    lambda begin, parts: [begin, *(step for part in parts for step in part)],
    st.builds(replying, st.booleans()),
    st.lists(st.one_of(words, words, flickers, calls), min_size=5, max_size=25),
)
hearings = st.lists(
    st.builds(lambda probability, count: [probability] * count, probabilities, st.integers(1, 100)),
    max_size=20,
).map(lambda parts: [probability for part in parts for probability in part])
any_settings = st.builds(
    EndpointerSettings,
    mode=st.sampled_from(["semantic", "silence"]),
    eagerness=st.sampled_from(["low", "auto", "high"]),
    minimum_speech_ms=st.integers(1, 300),
    maximum_turn_sec=st.sampled_from([1, 30]),
    silence_ms=st.integers(1, 1000),
)


def follow(listener: Endpointer, steps: Iterable[Step]) -> list[EndpointSignal]:
    return [signal for step in steps for signal in step(listener)]


def latest_sample(signal: EndpointSignal) -> int:
    match signal:
        case SpeechPaused(speech_end) | SpeechDoubtful(speech_end):
            return speech_end
        case SpeechOnset(at) | SpeechDropped(at) | SpeechStarted(at) | SpeechResumed(at):
            return at
        case TurnEnded():
            assert signal.speech_end <= signal.at
            return signal.at


@given(any_settings, conversations)
def test_signals_form_whole_turns(settings: EndpointerSettings, steps: list[Step]) -> None:
    listener = Endpointer(settings)
    signals = follow(listener, [*steps, Endpointer.clear])
    assert GRAMMAR.fullmatch("".join(LETTERS[type(signal)] for signal in signals))
    assert not listener.in_turn


@given(any_settings, conversations)
def test_positions_only_grow_and_are_never_in_the_future(settings: EndpointerSettings, steps: list[Step]) -> None:
    listener = Endpointer(settings)
    latest = onset_at = 0
    for step in steps:
        for signal in step(listener):
            if isinstance(signal, SpeechStarted):  # the onset's position once more
                assert signal.at == onset_at
                continue
            assert latest <= latest_sample(signal) <= listener.position
            latest = latest_sample(signal)
            onset_at = signal.at if isinstance(signal, SpeechOnset) else onset_at


@given(any_settings, conversations)
def test_a_turn_ends_where_its_last_pause_began(settings: EndpointerSettings, steps: list[Step]) -> None:
    signals = follow(Endpointer(settings), steps)
    for before, signal in pairwise(signals):
        if isinstance(before, SpeechPaused) and isinstance(signal, TurnEnded):
            assert signal.speech_end == before.speech_end


@given(any_settings, hearings)
@example(EndpointerSettings(), [0.9] * 10 + [0.42] * 200)
@example(EndpointerSettings(), [0.9] * 10 + [0.05] * 10 + [0.9] + [0.42] * 200)
def test_no_turn_stays_open_in_silence_nor_beyond_its_longest(settings: EndpointerSettings, heard: list[float]) -> None:
    listener = Endpointer(settings)
    longest_hold = max(settings.silence_ms, 1.5 * settings.maximum_hold_ms) / 32 + 1
    since_speech = since_onset = 0
    for probability in heard:
        was_open = listener.in_turn
        listener.feed(probability)
        since_speech = 0 if probability >= settings.threshold else since_speech + 1
        since_onset = since_onset + 1 if was_open and listener.in_turn else 0
        assert not listener.in_turn or since_speech <= longest_hold
        assert since_onset <= settings.maximum_turn_sec / 0.032


@given(any_settings, st.lists(st.floats(-inf, 0.49), max_size=300))
def test_without_speech_there_are_no_signals(settings: EndpointerSettings, heard: list[float]) -> None:
    listener = Endpointer(settings)
    assert follow(listener, [feeding(probability) for probability in heard]) == []
    assert listener.position == frames(len(heard))


@given(st.lists(st.floats(), max_size=100))
def test_any_float_can_be_fed(heard: list[float]) -> None:
    listener = endpointer()
    follow(listener, [feeding(probability) for probability in heard])
    assert listener.position == frames(len(heard))


@given(any_settings, st.integers(0, 10**9), conversations)
def test_only_differences_of_positions_matter(settings: EndpointerSettings, origin: int, steps: list[Step]) -> None:
    here = follow(Endpointer(settings), steps)
    there = follow(Endpointer(settings, position=origin), steps)
    assert [latest_sample(signal) + origin for signal in here] == [latest_sample(signal) for signal in there]


@given(conversations)
def test_statistics_count_every_signal(steps: list[Step]) -> None:
    listener = endpointer()
    letters = [LETTERS[type(signal)] for signal in follow(listener, steps)]
    counted = listener.statistics()
    assert (counted.onsets, counted.turns, counted.ends) == tuple(map(letters.count, "OSE"))
    assert (counted.doubts, counted.drops) == tuple(map(letters.count, "?x"))
    assert (counted.pauses, counted.resumes) == tuple(map(letters.count, "PR"))
