"""The track that aiortc's sender reads: mostly on virtual time."""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise

import numpy as np
import pytest

from edge_client.webrtc.opus import FRAME_SEC, silence_packet
from edge_client.webrtc.opus_packet import RTP_RATE
from edge_client.webrtc.pace import FRAME_TICKS, LEAD_SEC, MOVE_STEP_SEC, MOVE_TICKS
from edge_client.webrtc.playout_track import PlayoutTrack
from routing.turns import Samples
from tests.silent_call import silent_call
from tests.virtual_time import on_virtual_time


@on_virtual_time
async def test_the_track_paces_and_counts() -> None:
    asked = []

    def read(count: int) -> Samples:
        asked.append(count)
        return np.full(count, 0.1, np.float32)

    track, loop = PlayoutTrack(read), asyncio.get_running_loop()
    begun = loop.time()
    packets = [await track.recv() for _ in range(6)]

    assert loop.time() - begun == pytest.approx(5 * FRAME_SEC)
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


@on_virtual_time
async def test_in_silence_the_track_falls_in_behind_the_caller_s_packets() -> None:
    track, loop = PlayoutTrack(lambda count: np.zeros(count, np.float32)), asyncio.get_running_loop()

    async def hear() -> None:
        for index in range(250):
            await asyncio.sleep(0.011 + index * FRAME_SEC - loop.time())
            track.heard()

    hearing = asyncio.create_task(hear())
    packets = [(await track.recv(), loop.time()) for _ in range(200)]
    hearing.cancel()

    assert track.statistics().moves == 1
    assert (packets[-1][1] - 0.011) % FRAME_SEC == pytest.approx(LEAD_SEC, abs=MOVE_STEP_SEC)
    steps = [int(after.pts or 0) - int(before.pts or 0) for (before, _), (after, _) in pairwise(packets)]
    assert sorted(set(steps)) == [FRAME_TICKS, FRAME_TICKS + 6 * MOVE_TICKS]  # 15 ms, once


@on_virtual_time
async def test_with_dtx_the_reply_is_read_on_and_timestamps_count_what_is_not_sent() -> None:
    asked, loop = 0, asyncio.get_running_loop()

    def read(count: int) -> Samples:
        nonlocal asked
        asked += 1
        return np.full(count, 0.1 if asked == 35 else 0.0, np.float32)

    track = PlayoutTrack(read, dtx=True)
    sent = [(await track.recv()).pts for _ in range(4)]

    assert asked == 35
    assert sent == [0, FRAME_TICKS, 21 * FRAME_TICKS, 34 * FRAME_TICKS]
    assert loop.time() == pytest.approx(34 * FRAME_SEC)


@on_virtual_time
async def test_what_the_caller_loses_makes_the_packets_stronger() -> None:
    def sound() -> PlayoutTrack:
        noise = np.random.default_rng(1)
        return PlayoutTrack(lambda count: noise.uniform(-0.3, 0.3, count).astype(np.float32))

    good, bad = sound(), sound()
    for _ in range(10):
        bad.lost(0.25)
        good.lost(0.0)
        await asyncio.sleep(1.0)

    packets = [[bytes(await track.recv()) for _ in range(5)] for track in (good, bad)]

    assert bad.statistics().expected_loss == pytest.approx(0.25, abs=0.05)
    assert packets[0] != packets[1]


@pytest.mark.slow  # a second of silence
@pytest.mark.parametrize("wish", ["usedtx=1", "usedtx=0"])
async def test_a_caller_who_asks_for_it_is_sent_next_to_nothing_in_silence(wish: str) -> None:
    def wishing(offer: str) -> str:
        return re.sub(r"(a=rtpmap:(\d+) opus/48000/2\r\n)", rf"\1a=fmtp:\2 {wish}\r\n", offer)

    async with silent_call(wishing) as (_, peer):
        await asyncio.sleep(1.0)
        packets = peer.statistics().playout.packets
    assert (packets <= 10) is (wish == "usedtx=1")
