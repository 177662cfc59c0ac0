"""The microphone on a clock that the test moves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.caller.loudness import WINDOW_SEC
from edge_client.caller.measure import Interval
from edge_client.caller.microphone import MICROPHONE_RATE, Microphone
from routing.errors import InvalidRequest
from routing.turns import Samples

FRAME = 480
FRAME_SEC = FRAME / MICROPHONE_RATE


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def recording(before: float, speech: float, after: float) -> Samples:
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(speech * MICROPHONE_RATE)) / MICROPHONE_RATE)
    silences = [np.zeros(round(seconds * MICROPHONE_RATE)) for seconds in (before, after)]
    return np.concatenate((silences[0], tone, silences[1])).astype(np.float32)


def read(microphone: Microphone, clock: Clock, frames: int) -> Samples:
    blocks = [np.zeros(0, np.float32)]
    for _ in range(frames):
        clock.now += FRAME_SEC
        blocks.append(microphone.read(FRAME))
    return np.concatenate(blocks)


def test_a_microphone_is_never_without_samples() -> None:
    clock = Clock()
    assert not read(Microphone(clock), clock, 10).any()


def test_recordings_are_played_one_after_the_other_and_whole() -> None:
    clock = Clock()
    microphone = Microphone(clock)
    first, second = recording(0.03, 0.2, 0.017), recording(0, 0.111, 0)
    spoken: list[Interval] = []
    microphone.say(first, spoken.append)
    microphone.say(second, spoken.append)
    sound = read(microphone, clock, 30)
    said = np.concatenate((first, second))
    assert np.array_equal(sound[: len(said)], said)
    assert not sound[len(said) :].any()
    assert spoken[0] == pytest.approx((50.03, 50.23), abs=WINDOW_SEC)
    assert spoken[1] == pytest.approx((50.247, 50.358), abs=WINDOW_SEC)


@given(before=st.floats(0, 0.2), speech=st.floats(0.05, 0.3), idle=st.integers(0, 9))
def test_speech_is_on_the_clock_to_the_sample(before: float, speech: float, idle: int) -> None:
    clock = Clock()
    microphone = Microphone(clock)
    read(microphone, clock, idle)
    begin = clock.now
    spoken: list[Interval] = []
    microphone.say(recording(before, speech, 0.1), spoken.append)
    read(microphone, clock, 40)
    assert spoken == [pytest.approx((begin + before, begin + before + speech), abs=WINDOW_SEC)]


def test_a_reader_that_comes_late_does_not_make_the_samples_younger() -> None:
    clock = Clock()
    microphone = Microphone(clock)
    read(microphone, clock, 1)
    spoken: list[Interval] = []
    microphone.say(recording(0, FRAME_SEC, 0), spoken.append)
    clock.now += FRAME_SEC + 0.015
    microphone.read(FRAME)
    assert spoken[0].end == pytest.approx(clock.now - 0.015, abs=1e-6)


def test_no_sample_is_read_before_it_was_captured() -> None:
    clock = Clock()
    microphone = Microphone(clock)
    read(microphone, clock, 1)
    spoken: list[Interval] = []
    microphone.say(recording(0, FRAME_SEC, 0), spoken.append)
    clock.now += FRAME_SEC - 0.015
    microphone.read(FRAME)
    assert spoken[0].end == pytest.approx(clock.now, abs=1e-6)


def test_after_a_stall_time_goes_on_from_now() -> None:
    clock = Clock()
    microphone = Microphone(clock)
    read(microphone, clock, 1)
    clock.now += 3
    spoken: list[Interval] = []
    microphone.say(recording(0, FRAME_SEC, 0), spoken.append)
    microphone.read(FRAME)
    assert spoken[0].end == pytest.approx(clock.now, abs=1e-6)


def test_silence_cannot_be_said() -> None:
    with pytest.raises(InvalidRequest, match="got silence"):
        Microphone(Clock()).say(np.zeros(4800, np.float32), lambda spoken: None)
