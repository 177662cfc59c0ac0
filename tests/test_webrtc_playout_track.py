"""The pace of the reply: on virtual time for the decisions, on real time for the track."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.webrtc.opus import silence_packet
from edge_client.webrtc.playout_track import FRAME_TICKS, RTP_RATE, Pace, PlayoutTrack
from routing.turns import Samples


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


async def test_the_track_paces_and_counts() -> None:
    asked = []

    def read(count: int) -> Samples:
        asked.append(count)
        return np.full(count, 0.1, np.float32)

    track, loop = PlayoutTrack(read), asyncio.get_running_loop()
    begun = loop.time()
    packets = [await track.recv() for _ in range(6)]

    assert loop.time() - begun > 0.09
    assert asked == [480] * 6
    assert [packet.pts for packet in packets] == [index * FRAME_TICKS for index in range(6)]
    assert {packet.time_base for packet in packets} == {packets[0].time_base}
    assert packets[0].time_base.denominator == RTP_RATE
    assert track.statistics().packets == 6


async def test_a_late_track_lets_others_run() -> None:
    track = PlayoutTrack(lambda count: np.zeros(count, np.float32))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    await track.recv()
    task = asyncio.create_task(other())
    await asyncio.sleep(0)
    for _ in range(3):
        track._pace._due = 0.0  # always late
        await track.recv()
    task.cancel()
    assert turns >= 4


@pytest.mark.parametrize("result", [None, np.zeros(7, np.float32), np.ones(7, np.float32), ZeroDivisionError()])
async def test_whatever_is_wrong_with_the_sound_the_track_sends_silence(
    result: object, caplog: pytest.LogCaptureFixture
) -> None:
    def read(count: int) -> Samples:
        if isinstance(result, Exception):
            raise result
        return result  # type: ignore[return-value]

    track = PlayoutTrack(read)
    packets = [bytes(await track.recv()) for _ in range(3)]

    assert packets == [silence_packet()] * 3
    if isinstance(result, np.ndarray) and not result.any():
        return  # silence of any length is silence
    assert track.statistics().failures == 3
    assert len(caplog.records) == 1
