"""What the receive path leans on in aiortc, and how missing sound is counted."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.jitterbuffer import JitterBuffer
from av import AudioFrame

from edge_client.webrtc.receiver import GapDetector, Receiver
from routing.turns import Samples

FRAME = 960


async def test_the_private_names_of_aiortc_are_there() -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    receiver = connection.addTransceiver("audio").receiver
    assert isinstance(receiver._RTCRtpReceiver__jitter_buffer, JitterBuffer)  # type: ignore[attr-defined]
    assert callable(receiver._RTCRtpReceiver__stop_decoder)  # type: ignore[attr-defined]

    Receiver(receiver, lambda _: None)

    assert receiver._RTCRtpReceiver__jitter_buffer.capacity == 4  # type: ignore[attr-defined]
    await connection.close()


async def test_the_decoder_thread_is_stopped_without_waiting_for_it() -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    receiver = connection.addTransceiver("audio").receiver
    ours = Receiver(receiver, lambda _: None)
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    receiver._RTCRtpReceiver__decoder_thread = thread  # type: ignore[attr-defined]

    receiver._handle_disconnect()
    receiver._handle_disconnect()

    assert thread.is_alive()
    release.set()
    await ours.closed()
    assert not thread.is_alive()
    await connection.close()


def test_frames_in_a_row_miss_nothing() -> None:
    gaps = GapDetector()
    assert [gaps.missing(index * FRAME, FRAME, index * 0.02) for index in range(5)] == [0] * 5


def test_lost_frames_are_counted_once() -> None:
    gaps = GapDetector()
    gaps.missing(0, FRAME, 0.0)
    assert gaps.missing(4 * FRAME, FRAME, 0.08) == 3 * FRAME
    assert gaps.missing(5 * FRAME, FRAME, 0.10) == 0


def test_a_network_that_catches_up_is_believed() -> None:
    gaps = GapDetector()
    gaps.missing(0, FRAME, 0.0)
    gaps.missing(FRAME, FRAME, 0.3)
    assert gaps.missing(12 * FRAME, FRAME, 0.3) == 10 * FRAME


@pytest.mark.parametrize(("passed_sec", "missing_sec"), [(10.0, 2.0), (0.1, 0.6), (0.0, 0.5)])
def test_a_leap_is_bounded_by_the_time_that_has_passed(passed_sec: float, missing_sec: float) -> None:
    gaps = GapDetector()
    gaps.missing(0, FRAME, 0.0)
    assert gaps.missing(1 << 31, FRAME, passed_sec) == round(missing_sec * 48_000)
    assert gaps.missing((1 << 31) + FRAME, FRAME, passed_sec + 0.02) == 0


def test_a_sender_that_goes_back_misses_nothing() -> None:
    gaps = GapDetector()
    gaps.missing(100 * FRAME, FRAME, 0.0)
    assert gaps.missing(0, FRAME, 0.02) == 0
    assert gaps.missing(FRAME, FRAME, 0.04) == 0


async def test_frames_become_16_khz_mono_with_silence_where_some_are_missing() -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    blocks: list[Samples] = []
    receiver = Receiver(connection.addTransceiver("audio").receiver, blocks.append)

    for position in (0, 1, 2, 5, 6):
        receiver._take(frame(position, left=8192, right=24576))
        await asyncio.sleep(0)

    heard = np.concatenate(blocks)
    assert receiver.statistics().heard == len(heard) == 7 * 320 - 16
    assert receiver.statistics().lost == 2 * 320
    np.testing.assert_allclose(heard[100:860], 0.5, atol=1e-3)
    np.testing.assert_allclose(heard[1060:1500], 0.0, atol=1e-3)
    np.testing.assert_allclose(heard[1700:2100], 0.5, atol=1e-3)
    await connection.close()


def frame(position: int, *, left: int, right: int) -> AudioFrame:
    samples = np.tile(np.array([left, right], np.int16), FRAME).reshape(1, -1)
    made = AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
    made.sample_rate = 48_000
    made.pts = position * FRAME
    return made
