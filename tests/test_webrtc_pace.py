"""The pace of the reply, on a clock that the test moves."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.webrtc.opus import FRAME_SEC
from edge_client.webrtc.opus_packet import RTP_RATE
from edge_client.webrtc.pace import (
    FRAME_TICKS,
    LEAD_SEC,
    LONGEST_BURST_SEC,
    MOVE_INTERVAL_SEC,
    MOVE_STEP_SEC,
    MOVE_TICKS,
    Arrivals,
    Pace,
)


def sent(pace: Pace, now: float) -> float:
    """Send one frame as soon as it is due; returns when that was."""
    now += pace.wait_sec(now)
    pace.begin(now)
    return now


def test_frames_leave_every_20_ms() -> None:
    pace, now = Pace(), 100.0
    times = [now := sent(pace, now) for _ in range(5)]
    assert times == pytest.approx([100.0, 100.02, 100.04, 100.06, 100.08])
    assert pace.begin(100.1) == 5 * FRAME_TICKS
    assert (pace.stalls, pace.skipped_frames) == (0, 0)


def test_a_little_lateness_is_caught_up_with() -> None:
    pace = Pace()
    pace.begin(0.0)
    timestamps = [pace.begin(0.058), pace.begin(0.058)]  # the first was due at 0.02
    assert timestamps == [FRAME_TICKS, 2 * FRAME_TICKS]
    assert pace.wait_sec(0.058) == pytest.approx(0.002)
    assert pace.stalls == 0


def test_a_stall_is_skipped_and_not_caught_up_with() -> None:
    pace = Pace()
    pace.begin(0.0)
    assert pace.begin(0.53) == 26 * FRAME_TICKS  # due at 0.02: 25 frames were missed
    assert pace.wait_sec(0.53) == pytest.approx(0.01)
    assert (pace.stalls, pace.skipped_frames) == (1, 25)
    assert pace.worst_lateness_sec == pytest.approx(0.51)


@given(st.lists(st.floats(0.0, 0.5), min_size=1, max_size=60))
def test_timestamps_follow_the_clock_and_bursts_stay_small(delays: list[float]) -> None:
    """However late each frame is sent, it is never more than 40 ms behind its timestamp, nor ahead of it."""
    pace, now = Pace(), 0.0
    previous = -FRAME_TICKS
    for index, delay in enumerate(delays):
        now += pace.wait_sec(now) + (delay if index else 0.0)
        timestamp = pace.begin(now)
        assert timestamp >= previous + FRAME_TICKS
        assert -1e-6 <= now - timestamp / RTP_RATE <= 0.04 + 1e-6
        previous = timestamp


# -- where the caller's packets come ---------------------------------------------------------------------------------


def arrivals(*, phase: float, count: int = 100, jitter: float = 0.0, period: float = FRAME_SEC) -> list[float]:
    """When packets come that were sent evenly; some take longer than others."""
    rng = random.Random(7)
    return sorted(100.0 + phase + index * period + rng.uniform(0.0, jitter) for index in range(count))


def phase_of(times: list[float]) -> float | None:
    told = Arrivals()
    for time in times:
        told.add(time)
    return told.phase_sec(times[-1])


@given(st.floats(0.0, 0.02, exclude_max=True), st.floats(0.0, 0.004))
def test_the_phase_is_that_of_the_packets_that_took_least(phase: float, jitter: float) -> None:
    found = phase_of(arrivals(phase=phase, jitter=jitter))
    assert found is not None
    assert -1e-6 <= (found - phase + 0.01) % FRAME_SEC - 0.01 <= 0.001


def test_a_few_packets_that_come_late_or_never_change_nothing() -> None:
    times = [time + (0.009 if index % 5 == 0 else 0.0) for index, time in enumerate(arrivals(phase=0.003))]
    del times[10:20]
    assert phase_of(times) == pytest.approx(0.003)


def test_packets_in_bursts_have_a_phase_too() -> None:
    """As a network brings them that lets several gather: three at once, every 60 ms."""
    times = [time for time in arrivals(phase=0.012, period=3 * FRAME_SEC, count=40) for _ in range(3)]
    assert phase_of(times) == pytest.approx(0.012)


@pytest.mark.parametrize(
    "times",
    [
        arrivals(phase=0.0, count=10),
        arrivals(phase=0.0, jitter=0.03),
        arrivals(phase=0.0, period=0.0213),
        arrivals(phase=0.0, period=0.4),
    ],
    ids=["too few", "jitter", "another pace", "silence"],
)
def test_packets_that_do_not_come_regularly_have_no_phase(times: list[float]) -> None:
    assert phase_of(times) is None


# -- going by it -----------------------------------------------------------------------------------------------------


def call(pace: Pace, *, seconds: float, heard: list[float], silent: bool = True) -> Iterator[tuple[float, int]]:
    """Send for so long and hear meanwhile; gives when each frame left, and its timestamp."""
    now, coming = heard[0], list(heard)
    end = now + seconds
    while now < end:
        now += pace.wait_sec(now)
        while coming and coming[0] <= now:
            pace.heard_at(coming.pop(0))
        yield now, pace.begin(now, silent=silent)


def leads(sent: list[tuple[float, int]], heard: list[float]) -> list[float]:
    return [(now - heard[0]) % FRAME_SEC for now, _ in sent]


@pytest.mark.parametrize("offset_ms", [0.5, 2, 5, 9, 13, 17, 19.5])
def test_in_silence_the_tick_moves_to_shortly_after_the_caller_s_packets(offset_ms: float) -> None:
    heard, pace = arrivals(phase=0.0, count=300), Pace()
    pace.begin(heard[0] + offset_ms / 1000)

    sent = list(call(pace, seconds=5.0, heard=heard))

    assert leads(sent, heard)[-1] == pytest.approx(LEAD_SEC, abs=MOVE_STEP_SEC)
    assert pace.moves <= 1


def test_during_a_reply_the_tick_stays_where_it_is() -> None:
    heard, pace = arrivals(phase=0.0, count=300), Pace()
    sent = list(call(pace, seconds=5.0, heard=heard, silent=False))
    assert pace.moves == 0
    assert [timestamp for _, timestamp in sent] == [index * FRAME_TICKS for index in range(len(sent))]


def test_a_clock_that_runs_apart_is_followed_in_rare_small_steps() -> None:
    """A caller whose sound card is slow by 200 ppm, for three minutes: the phase goes once and a half around."""
    heard, pace = arrivals(phase=0.0, count=9000, period=FRAME_SEC * 1.0002), Pace()

    sent = list(call(pace, seconds=180.0, heard=heard))

    late = sent[250:]
    latest = [max(time for time in heard if time <= now) for now, _ in late[::50]]
    assert all(0.0 < now - before < 0.01 for (now, _), before in zip(late[::50], latest, strict=True))
    assert 5 <= pace.moves <= 180 / MOVE_INTERVAL_SEC


@given(
    offset=st.floats(0.0, 0.02),
    jitter=st.sampled_from([0.0, 0.003, 0.02, 0.2]),
    drift=st.floats(-0.001, 0.001),
    stalls=st.lists(st.tuples(st.integers(1, 900), st.floats(0.0, 0.3)), max_size=5),
    silences=st.lists(st.booleans(), min_size=1, max_size=20),
)
def test_whatever_comes_in_timestamps_match_the_clock_and_nothing_bursts(
    offset: float, jitter: float, drift: float, stalls: list[tuple[int, float]], silences: list[bool]
) -> None:
    heard = arrivals(phase=0.0, count=600, jitter=jitter, period=FRAME_SEC * (1 + drift))
    pace, late = Pace(), dict(stalls)
    now = begun = heard[0] + offset
    previous = pace.begin(now)
    for index in range(1, 600):
        now += pace.wait_sec(now) + late.get(index, 0.0)
        while heard and heard[0] <= now:
            pace.heard_at(heard.pop(0))
        timestamp = pace.begin(now, silent=silences[index // 50 % len(silences)])
        step = timestamp - previous
        assert step >= FRAME_TICKS
        assert step % MOVE_TICKS == 0
        assert -1e-6 <= now - begun - timestamp / RTP_RATE <= LONGEST_BURST_SEC + 1e-6
        assert pace.wait_sec(now) < 2 * FRAME_SEC
        previous = timestamp
    assert pace.moves <= 1 + 600 * FRAME_SEC / MOVE_INTERVAL_SEC + sum(late.values())
