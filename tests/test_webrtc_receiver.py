"""What the receive path leans on in aiortc, sound between two real peers, and whatever else may come."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpReceiver
from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpReceiveParameters
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtp import RtpPacket, is_rtcp
from hypothesis import given
from hypothesis import strategies as st

from edge_client.webrtc.ice import LOOPBACK, Ice
from edge_client.webrtc.libopus import OpusEncoder
from edge_client.webrtc.playout_track import PlayoutTrack
from edge_client.webrtc.receiver import MOST_SENDERS, Receiver
from routing.turns import REPLY_SAMPLE_RATE, SPEECH_SAMPLE_RATE, Samples
from tests.peers import Microphone, Trial, chirp, find, unbroken
from tests.virtual_time import VirtualTimeLoop, on_virtual_time

FRAME = 320  # samples at 16 kHz
TICKS = 960
OPUS, G722 = 111, 9  # payload types
DTX = b"\x48"


def private(receiver: RTCRtpReceiver, name: str) -> Any:
    return getattr(receiver, f"_RTCRtpReceiver__{name}")


# -- aiortc ------------------------------------------------------------------------------------------------------------


async def test_the_private_names_of_aiortc_are_there() -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    receiver = connection.addTransceiver("audio").receiver
    assert private(receiver, "codecs") == {}
    assert private(receiver, "remote_streams") == {}
    assert private(receiver, "started") is False
    assert receiver._enabled is True
    assert private(receiver, "rtcp_task") is None
    assert private(receiver, "decoder_thread") is None
    assert callable(private(receiver, "stop_decoder"))
    assert inspect.iscoroutinefunction(receiver._run_rtcp)
    assert parameters(receiver._handle_rtp_packet) == ["packet", "arrival_time_ms"]
    assert parameters(receiver.receive) == ["parameters"]
    assert parameters(receiver.transport._register_rtp_receiver) == ["receiver", "parameters"]
    assert parameters(StreamStatistics) == ["clockrate"]
    assert parameters(StreamStatistics(48_000).add) == ["packet"]
    await connection.close()


def parameters(function: Callable[..., object]) -> list[str]:
    return list(inspect.signature(function).parameters)


# -- two real peers ----------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """A call in which one speaks and the other listens."""

    microphone: Microphone
    track: PlayoutTrack
    speaker: RTCPeerConnection
    listener: RTCPeerConnection
    receiver: Receiver
    blocks: list[Samples]

    @property
    def heard(self) -> Samples:
        return np.concatenate([np.zeros(0, np.float32), *self.blocks])

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def line(fail: Callable[[], None] = lambda: None) -> AsyncIterator[Line]:
    blocks: list[Samples] = []

    def take(samples: Samples) -> None:
        blocks.append(samples)
        fail()

    speaker = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    listener = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    microphone = Microphone()
    track = PlayoutTrack(microphone.read)
    speaker.addTransceiver(track, direction="sendonly")
    receiver = Receiver(listener.addTransceiver("audio", direction="recvonly").receiver, take)
    try:
        await connect(speaker, listener)
        yield Line(microphone, track, speaker, listener, receiver, blocks)
    finally:
        await speaker.close()
        await listener.close()
        await receiver.closed()


async def connect(speaker: RTCPeerConnection, listener: RTCPeerConnection) -> None:
    Ice(addresses=(LOOPBACK,), loopback=False).guard(speaker)
    await speaker.setLocalDescription(await speaker.createOffer())
    await listener.setRemoteDescription(speaker.localDescription)
    Ice(addresses=(LOOPBACK,), loopback=False).guard(listener)
    await listener.setLocalDescription(await listener.createAnswer())
    await speaker.setRemoteDescription(listener.localDescription)


@pytest.mark.timeout(60)
async def test_sound_between_two_peers_needs_no_thread(nothing_left_behind: None) -> None:
    threads = set(threading.enumerate())

    async def speak() -> Trial[Samples]:
        async with line() as call:
            await call.until(lambda: bool(call.blocks))
            call.microphone.say(chirp(0.5, REPLY_SAMPLE_RATE))
            await call.until(lambda: call.microphone.silent)
            silent_from = len(call.heard)
            await call.until(lambda: len(call.heard) > silent_from + 10 * FRAME)
            assert set(threading.enumerate()) <= threads
        statistics = call.receiver.statistics()
        assert statistics.heard == len(call.heard)
        assert statistics.lost == statistics.undecodable == statistics.failures == 0
        return Trial(call.heard, call.track.statistics().stalls)

    assert find(chirp(0.5, SPEECH_SAMPLE_RATE), await unbroken(speak)).likeness > 0.8


async def test_negotiating_again_begins_nothing_anew(nothing_left_behind: None) -> None:
    async with line() as call:
        await call.until(lambda: bool(call.blocks))
        rtc_receiver = call.receiver._receiver
        reporting = private(rtc_receiver, "rtcp_task")
        await rtc_receiver.receive(RTCRtpReceiveParameters())
        assert private(rtc_receiver, "rtcp_task") is reporting


@pytest.mark.slow  # a second passes before a report
async def test_the_sender_is_told_what_was_lost() -> None:
    async with line() as call:
        lose(call.speaker, {10, 11, 12, 20})
        await call.until(lambda: call.receiver.statistics().jitter.lost == 4)
        sender = call.speaker.getSenders()[0]
        async with asyncio.timeout(30):
            while not (lost := await reported_lost(sender)):
                await asyncio.sleep(0.05)
    assert lost == 4
    assert call.receiver.statistics().lost == 4 * FRAME


def lose(speaker: RTCPeerConnection, numbers: set[int]) -> None:
    """Do not send these packets, counted from now on."""
    transport, count = speaker.getSenders()[0].transport, 0
    send = transport._send_rtp

    async def send_most(data: bytes) -> None:
        nonlocal count
        if not is_rtcp(data):
            count += 1
        if is_rtcp(data) or count not in numbers:
            await send(data)

    transport._send_rtp = send_most  # type: ignore[method-assign]


async def reported_lost(sender: Any) -> int:
    reports = (await sender.getStats()).values()
    return max((report.packetsLost for report in reports if report.type == "remote-inbound-rtp"), default=0)


async def test_whoever_fails_to_listen_does_not_end_the_call(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError("no room")

    async with line(fail) as call:
        await call.until(lambda: len(call.blocks) > 5)
        assert call.listener.connectionState == "connected"
    assert call.receiver.statistics().failures == len(call.blocks)
    assert [record.message for record in caplog.records] == ["what came from the caller could not be taken"]


async def test_the_track_ends_with_the_connection_of_either_side() -> None:
    async with line() as call:
        running = asyncio.create_task(call.receiver.run())
        await call.until(lambda: bool(call.blocks))
        assert not running.done()
        await call.speaker.close()
        await running


async def test_a_caller_who_only_listens_has_no_track_to_wait_for() -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    await Receiver(connection.addTransceiver("audio").receiver, lambda _: None).run()
    await connection.close()


# -- packet by packet --------------------------------------------------------------------------------------------------


class Phone(NamedTuple):
    """A receiver whose packets are made by the test."""

    take: Callable[..., Any]
    receiver: Receiver
    blocks: list[Samples]
    reported: dict[int, StreamStatistics]

    async def hear(self, number: int, payload: bytes, *, ssrc: int = 1, payload_type: int = OPUS) -> None:
        packet = RtpPacket(payload_type, 0, number % (1 << 16), number * TICKS % (1 << 32), ssrc, payload)
        await self.take(packet, arrival_time_ms=0)

    async def hear_all(self, packets: list[bytes]) -> None:
        """One after the other, in real time."""
        for number, payload in enumerate(packets):
            await self.hear(number, payload)
            await asyncio.sleep(0.02)

    @property
    def heard(self) -> Samples:
        return np.concatenate([np.zeros(0, np.float32), *self.blocks])


@asynccontextmanager
async def phone() -> AsyncIterator[Phone]:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    rtc_receiver = connection.addTransceiver("audio").receiver
    blocks: list[Samples] = []
    receiver = Receiver(rtc_receiver, blocks.append)
    for payload_type, name, clock_rate in ((OPUS, "audio/OPUS", 48_000), (G722, "audio/G722", 8000)):
        private(rtc_receiver, "codecs")[payload_type] = RTCRtpCodecParameters(
            name, clock_rate, 1, payloadType=payload_type
        )
    yield Phone(rtc_receiver._handle_rtp_packet, receiver, blocks, private(rtc_receiver, "remote_streams"))
    await receiver.closed()
    await connection.close()


def spoken(sound: Samples, packet_loss_percent: int = 20) -> list[bytes]:
    """``sound`` is at 16 kHz."""
    encoder = OpusEncoder(SPEECH_SAMPLE_RATE, bit_rate=32_000, packet_loss_percent=packet_loss_percent)
    return [encoder.encode(frame) for frame in np.split(sound[: len(sound) // FRAME * FRAME], len(sound) // FRAME)]


@on_virtual_time
async def test_every_packet_is_heard_before_the_next_one() -> None:
    async with phone() as call:
        packets = spoken(chirp(0.5, SPEECH_SAMPLE_RATE))
        for number, payload in enumerate(packets):
            await call.hear(number, payload)
            assert len(call.heard) == (number + 1) * FRAME
    assert find(chirp(0.5, SPEECH_SAMPLE_RATE), call.heard).likeness > 0.8


@on_virtual_time
async def test_a_packet_that_waits_for_another_is_heard_although_nothing_more_comes() -> None:
    async with phone() as call:
        packets = spoken(chirp(0.5, SPEECH_SAMPLE_RATE))
        await call.hear(0, packets[0])
        await call.hear(2, packets[2])
        assert len(call.heard) == FRAME
        await asyncio.sleep(0.021)
        assert len(call.heard) == 3 * FRAME


@on_virtual_time
async def test_a_wait_that_ends_before_another_ends_in_time() -> None:
    async with phone() as call:
        packets = spoken(chirp(0.5, SPEECH_SAMPLE_RATE))
        await call.hear(0, DTX)  # silence would follow after 40 ms
        await call.hear(1, packets[1])
        await call.hear(3, packets[3])
        await asyncio.sleep(0.021)
        assert len(call.heard) == 4 * FRAME


@on_virtual_time
async def test_a_timer_that_rings_a_little_early_counts() -> None:
    async with phone() as call:
        packets = spoken(chirp(0.5, SPEECH_SAMPLE_RATE))
        await call.hear(0, packets[0])
        await call.hear(2, packets[2])
        await asyncio.sleep(0.0196)
        call.receiver._tick()
        assert len(call.heard) == 3 * FRAME


@on_virtual_time
async def test_after_a_packet_that_announces_silence_time_goes_on() -> None:
    async with phone() as call:
        await call.hear_all([*spoken(chirp(0.5, SPEECH_SAMPLE_RATE)), DTX])
        before = len(call.heard)
        await asyncio.sleep(1.0)
        silence = call.heard[before:]
        assert len(silence) == pytest.approx(SPEECH_SAMPLE_RATE, abs=2 * FRAME)
        assert not silence.any()


@on_virtual_time
async def test_after_the_end_nothing_is_handed_on() -> None:
    async with phone() as call:
        await call.hear(0, DTX)
        await call.receiver.closed()
        await asyncio.sleep(1.0)
        assert len(call.heard) == FRAME


@on_virtual_time
async def test_silence_put_out_too_much_is_taken_out_of_quiet_frames_only() -> None:
    loud, quiet = spoken(chirp(0.2, SPEECH_SAMPLE_RATE)), spoken(np.zeros(10 * FRAME, np.float32))
    async with phone() as call:
        await call.hear(0, DTX)
        await asyncio.sleep(0.15)
        put_out, blocks = len(call.heard), len(call.blocks)
        for number, payload in enumerate(loud[:5]):
            await call.hear(number + 1, payload)
        assert [len(block) for block in call.blocks[blocks:]] == [FRAME] * 5
        for number, payload in enumerate(quiet):
            await call.hear(number + 6, payload)
        assert put_out > FRAME
        assert len(call.heard) == 16 * FRAME  # as the caller has counted
        assert call.receiver.statistics().jitter.cut == put_out - FRAME


@on_virtual_time
async def test_a_lost_frame_is_brought_back_by_the_next_one() -> None:
    said = chirp(0.5, SPEECH_SAMPLE_RATE, low=300, high=900)
    packets = spoken(said)
    async with phone() as whole, phone() as lossy:
        await whole.hear_all(packets)
        for number, payload in enumerate(packets):
            if number != 12:
                await lossy.hear(number, payload)
                await asyncio.sleep(0.02)
    frame = slice(12 * FRAME, 13 * FRAME)
    assert len(lossy.heard) == len(whole.heard)
    assert np.corrcoef(lossy.heard[frame], whole.heard[frame])[0, 1] > 0.9
    assert lossy.receiver.statistics().lost == FRAME


@on_virtual_time
async def test_a_codec_that_is_not_opus_is_not_heard() -> None:
    async with phone() as call:
        await call.hear(0, b"\x48" * 160, payload_type=G722)
        await call.hear(1, b"\x48" * 160, payload_type=0)
        assert not call.blocks
        assert not call.reported


@on_virtual_time
async def test_a_caller_who_should_only_listen_is_not_heard() -> None:
    async with phone() as call:
        call.receiver._receiver._enabled = False  # as aiortc does when that was agreed
        await call.hear(0, DTX)
        assert not call.blocks


@on_virtual_time
async def test_reports_are_made_of_a_few_senders_only() -> None:
    async with phone() as call:
        for ssrc in range(20):
            await call.hear(0, DTX, ssrc=ssrc)
        assert list(call.reported) == list(range(20))[-MOST_SENDERS:]


@on_virtual_time
async def test_what_looks_like_opus_and_is_not_is_concealed_and_counted() -> None:
    broken = bytes([(9 << 3) | 2, 255, 255])  # two frames, the first longer than the packet
    async with phone() as call:
        await call.hear(0, broken)
        await call.hear(2, broken)
        await asyncio.sleep(0.1)
        assert len(call.heard) == 2 * 2 * FRAME
        assert call.receiver.statistics().undecodable == 2


payloads = st.one_of(st.binary(max_size=40), st.sampled_from([DTX, *spoken(chirp(0.2, SPEECH_SAMPLE_RATE))]))
packets = st.tuples(st.integers(0, 30), payloads, st.integers(1, 3), st.sampled_from([0.0, 0.02, 0.5]))


@given(st.lists(packets, max_size=40))
def test_junk_of_any_kind_ends_nothing(story: list[tuple[int, bytes, int, float]]) -> None:
    async def hear() -> None:
        async with phone() as call:
            for number, payload, ssrc, wait_sec in story:
                await call.hear(number, payload, ssrc=ssrc)
                await asyncio.sleep(wait_sec)
            await asyncio.sleep(3.0)
            assert call.receiver.statistics().heard == len(call.heard)
            assert np.isfinite(call.heard).all()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(hear())
