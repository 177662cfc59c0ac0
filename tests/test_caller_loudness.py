"""Finding sound in a recording."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_client.caller.loudness import WINDOW_SEC, audible_spans, speech_span
from routing.turns import Samples

RATE = 24_000
WINDOW = WINDOW_SEC * RATE


def tone(seconds: float, level: float = 0.3) -> Samples:
    time = np.arange(int(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * 440 * time)).astype(np.float32)


def silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * RATE), np.float32)


def test_silence_holds_no_speech() -> None:
    assert speech_span(silence(1), RATE) is None
    assert speech_span(silence(0), RATE) is None
    assert audible_spans(silence(0), RATE) == []


@given(before=st.floats(0, 1), speech=st.floats(0.05, 1), after=st.floats(0, 1))
def test_speech_is_found_to_the_window(before: float, speech: float, after: float) -> None:
    recording = np.concatenate((silence(before), tone(speech), silence(after)))
    span = speech_span(recording, RATE)
    assert span is not None
    assert abs(span.begin - int(before * RATE)) <= WINDOW
    assert abs(span.end - int(before * RATE) - int(speech * RATE)) <= WINDOW


@given(volume=st.floats(0.1, 3))
def test_the_volume_of_a_recording_does_not_move_its_edges(volume: float) -> None:
    recording = np.concatenate((silence(0.3), tone(0.5), tone(0.1, level=0.01), silence(0.3)))
    assert speech_span(recording * np.float32(volume), RATE) == speech_span(recording, RATE)


def test_a_noisy_room_is_no_speech() -> None:
    noise = np.random.default_rng(7).normal(0, 0.005, 2 * RATE).astype(np.float32)
    noise[RATE // 2 : RATE] += tone(0.5)
    span = speech_span(noise, RATE)
    assert span is not None
    assert abs(span.begin - RATE // 2) <= WINDOW
    assert abs(span.end - RATE) <= WINDOW


def test_a_click_is_not_speech_and_a_short_closure_does_not_end_it() -> None:
    click = tone(0.01)
    recording = np.concatenate((click, silence(0.5), tone(0.3), silence(0.1), tone(0.03), silence(0.5), click))
    span = speech_span(recording, RATE)
    assert span is not None
    assert abs(span.begin - int(0.51 * RATE)) <= WINDOW
    assert abs(span.end - int(0.94 * RATE)) <= WINDOW


def test_longer_pauses_divide_what_is_audible() -> None:
    recording = np.concatenate((tone(0.2), silence(0.3), tone(0.2)))
    assert len(audible_spans(recording, RATE)) == 2
    assert len(audible_spans(recording, RATE, bridge_sec=0.4)) == 1
