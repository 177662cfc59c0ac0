"""Latency at the caller, on sound whose every sample is placed by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.caller.loudness import FAINTEST_SAMPLE, WINDOW_SEC
from edge_client.caller.measure import (
    BREATH_SEC,
    PLAYER_BUFFER_SEC,
    Interval,
    first_arrival,
    measure,
    played,
    reply_sound,
    stalls,
)
from edge_client.caller.recorder import Arrival, Recorder
from routing.turns import AudioChunk, Samples

RATE = 24_000
FRAME_SEC = 0.02
SPEECH = Interval(100.0, 101.0)


def line(*sounds: Interval, seconds: float = 5.0, begin: float = 99.5) -> Samples:
    """Silence from ``begin`` on, with a tone in every interval."""
    samples = np.zeros(int(seconds * RATE), np.float32)
    for sound in sounds:
        first, last = (round((moment - begin) * RATE) for moment in sound)
        samples[first:last] = 0.3 * np.sin(2 * np.pi * 440 * np.arange(last - first) / RATE)
    return samples


def arriving(samples: Samples, *, begin: float = 99.5, frame_sec: float = FRAME_SEC) -> list[Arrival]:
    """The samples in frames, each there at the moment its first sample may be played."""
    size = round(frame_sec * RATE)
    return [
        Arrival(begin + place / RATE, AudioChunk(samples[place : place + size], RATE))
        for place in range(0, len(samples), size)
    ]


@settings(max_examples=30)
@given(wait=st.floats(0.01, 2), frame_sec=st.sampled_from([0.0025, 0.01, 0.02, 0.06]))
def test_v2v_runs_from_the_last_sample_said_to_the_first_one_heard(wait: float, frame_sec: float) -> None:
    heard = arriving(line(Interval(101 + wait, 102 + wait)), frame_sec=frame_sec)
    latency = measure(SPEECH, heard)
    assert latency.v2v_sec == pytest.approx(wait, abs=WINDOW_SEC)
    assert latency.reply_sec == pytest.approx(1, abs=2 * WINDOW_SEC)
    assert not latency.early
    assert not latency.missed
    assert latency.starved_sec == 0


def test_no_answer_is_a_miss() -> None:
    assert measure(SPEECH, arriving(line())).missed
    assert measure(SPEECH, []).missed
    assert reply_sound(SPEECH, arriving(line())) is None


def test_an_answer_that_begins_before_the_end_is_early() -> None:
    latency = measure(SPEECH, arriving(line(Interval(100.5, 101.5))))
    assert latency.early
    assert latency.v2v_sec is None
    assert not latency.missed


def test_an_early_answer_may_be_followed_by_the_right_one() -> None:
    latency = measure(SPEECH, arriving(line(Interval(100.5, 100.7), Interval(101.4, 102))))
    assert latency.early
    assert latency.v2v_sec == pytest.approx(0.4, abs=WINDOW_SEC)


def test_what_was_said_before_the_speech_began_is_no_answer_to_it() -> None:
    latency = measure(SPEECH, arriving(line(Interval(99.6, 99.9))))
    assert latency.missed
    assert not latency.early


def test_a_barge_in_tells_when_the_old_reply_fell_silent() -> None:
    heard = arriving(line(Interval(99.5, 100.25), Interval(101.5, 102)))
    latency = measure(SPEECH, heard, interrupting=True)
    assert latency.cut_sec == pytest.approx(0.25, abs=WINDOW_SEC)
    assert latency.v2v_sec == pytest.approx(0.5, abs=WINDOW_SEC)
    assert not latency.early


def test_pauses_inside_the_reply_are_told() -> None:
    heard = arriving(line(Interval(101.3, 101.8), Interval(102.1, 102.5), Interval(103, 103.5)))
    latency = measure(SPEECH, heard)
    assert latency.longest_pause_sec == pytest.approx(0.5, abs=2 * WINDOW_SEC)
    assert latency.reply_sec == pytest.approx(2.2, abs=2 * WINDOW_SEC)


def test_the_sound_of_the_reply_is_kept_with_a_breath_around_it() -> None:
    sound = reply_sound(SPEECH, arriving(line(Interval(100.1, 100.3), Interval(101.5, 102))))
    assert sound is not None
    assert sound.duration_sec == pytest.approx(0.5 + 2 * BREATH_SEC, abs=2 * WINDOW_SEC)


@given(at=st.lists(st.floats(0, 10), min_size=1, max_size=50))
def test_played_frames_keep_their_order_and_never_come_before_they_arrived(at: list[float]) -> None:
    tone = line(Interval(0, FRAME_SEC), seconds=FRAME_SEC, begin=0)
    arrivals = [Arrival(moment, AudioChunk(tone, RATE)) for moment in sorted(at)]
    times = played(arrivals)
    assert all(time.begin >= arrival.at for time, arrival in zip(times, arrivals, strict=True))
    assert all(a.end <= b.begin + 1e-9 for a, b in pairwise(times))


def test_silence_takes_up_the_lag_that_jitter_has_left() -> None:
    samples = line(Interval(101.3, 102))
    on_time = arriving(samples)
    late = [replace(a, at=a.at + (0.2 if 99.6 < a.at < 99.8 else 0)) for a in on_time]
    late.sort(key=lambda arrival: arrival.at)
    assert measure(SPEECH, late).v2v_sec == pytest.approx(0.3, abs=WINDOW_SEC)


def test_silence_that_came_late_does_not_delay_the_word_after_it() -> None:
    silence, tone = np.zeros(480, np.float32), line(Interval(0, FRAME_SEC), seconds=FRAME_SEC, begin=0)
    burst = [Arrival(101.5, AudioChunk(sound, RATE)) for sound in (silence, silence, tone, tone)]
    assert [time.begin for time in played(burst)] == pytest.approx([101.5, 101.5, 101.5, 101.52])


def test_an_onset_at_the_end_of_a_frame_is_played_before_what_comes_with_it() -> None:
    frames = arriving(line(Interval(101.3175, 101.8)))
    together = [replace(frame, at=max(frame.at, 101.5)) if frame.at > 101.2 else frame for frame in frames]
    latency = measure(SPEECH, together)
    assert latency.v2v_sec == pytest.approx(0.5 + 0.0175, abs=WINDOW_SEC)
    assert latency.reply_sec == pytest.approx(0.4825, abs=2 * WINDOW_SEC)


@given(late_sec=st.floats(0, 0.5), place=st.integers(1, 40))
def test_one_late_frame_starves_the_player_of_what_its_buffer_does_not_cover(late_sec: float, place: int) -> None:
    frames = arriving(line(Interval(99.5, 100.5), seconds=1))
    late = [replace(a, at=a.at + late_sec) if i >= place else a for i, a in enumerate(frames)]
    expected = max(0.0, late_sec - PLAYER_BUFFER_SEC)
    waits = stalls(late)
    assert len(waits) <= 1
    assert sum(waits) == pytest.approx(expected, abs=2e-4)


def test_starvation_outside_the_reply_does_not_count() -> None:
    samples = line(Interval(101.3, 102))
    lagging = [replace(a, at=a.at + 0.3) if a.at < 100 else a for a in arriving(samples)]
    assert measure(SPEECH, lagging).starved_sec == 0


def test_a_recorder_notices_sound() -> None:
    recorder = Recorder()
    recorder.write(Arrival(2.0, AudioChunk(np.zeros(480, np.float32), RATE)))
    silent = recorder.audible
    recorder.write(Arrival(3.0, AudioChunk(line(Interval(0, 0.02), seconds=0.02, begin=0), RATE)))
    assert [arrival.at for arrival in recorder.arrivals] == [2.0, 3.0]
    assert (silent, recorder.audible) == (False, True)


# -- the first packet of a reply ---------------------------------------------------------------------------------------


def faintly(heard: list[Arrival], sound: Interval) -> list[Arrival]:
    """With a breath in the frames that come within the interval."""
    breath = np.full(len(heard[0].chunk.samples), 2 * FAINTEST_SAMPLE, np.float32)
    return [replace(a, chunk=AudioChunk(breath, RATE)) if sound.begin <= a.at + 1e-6 < sound.end else a for a in heard]


def test_a_voice_that_begins_faintly_has_arrived_before_it_is_heard() -> None:
    heard = arriving(line(Interval(101.31, 102)))
    assert first_arrival(101.31, heard, after=101.0) == pytest.approx(101.3)
    assert first_arrival(101.31, faintly(heard, Interval(101.24, 101.3)), after=101.0) == pytest.approx(101.24)
    assert first_arrival(101.31, faintly(heard, Interval(101.1, 101.2)), after=101.0) == pytest.approx(101.3)


def test_the_sound_of_the_reply_before_is_not_the_beginning_of_this_one() -> None:
    heard = faintly(arriving(line(Interval(101.31, 102))), Interval(100.2, 101.3))
    assert first_arrival(101.31, heard, after=101.0) == pytest.approx(101.0, abs=FRAME_SEC)


def test_packets_in_no_order_tell_no_arrival() -> None:
    heard = arriving(line(Interval(101.31, 102)))
    assert first_arrival(101.2, heard, after=101.0) is None
    assert first_arrival(101.2, [], after=101.0) is None
