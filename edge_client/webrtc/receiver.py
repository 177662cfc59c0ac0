"""The caller's voice on its way in: mono, 16 kHz, in order, as soon as it has come.

This takes the place of aiortc's own way from the packet to the sound, which delays by 80 ms, and by 280 ms for good
after one lost packet. The private names of aiortc used here are held by `tests/test_webrtc_receiver.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiortc import RTCRtpReceiver
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtp import RtpPacket

from edge_client.webrtc.jitter_buffer import JitterBuffer, JitterStatistics
from edge_client.webrtc.libopus import OpusDecoder, OpusError
from edge_client.webrtc.opus_packet import RTP_RATE
from edge_client.webrtc.voice_stream import Conceal, Play, Recover, Silence, Step, VoicePacket
from routing.turns import SPEECH_SAMPLE_RATE, Samples

logger = logging.getLogger(__name__)

OPUS = "audio/opus"
MOST_SENDERS = 4  # of whom reports are sent
QUIET = 0.003  # -50 dBFS: nothing is said in a frame that is never louder


@dataclass(frozen=True, slots=True)
class ReceiverStatistics:
    """Counts are samples at 16 kHz since the call began."""

    heard: int
    lost: int  # what was put in the place of sound that never came; part of `heard`
    undecodable: int  # packets that looked like Opus and were not
    failures: int  # blocks that whoever listens raised an error at
    jitter: JitterStatistics


class Receiver:
    """Hands each frame of one call to ``on_samples``, on the event loop, inside the call that brought its packet.

    It must exist before the offer is applied. `run` waits for the caller's track to end; `closed` is for the end, after
    the connection was closed. What ``on_samples`` raises is logged and goes no further.
    """

    def __init__(self, receiver: RTCRtpReceiver, on_samples: Callable[[Samples], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._receiver = receiver
        self._on_samples = on_samples
        self._buffer = JitterBuffer()
        self._decoder = OpusDecoder(SPEECH_SAMPLE_RATE)
        self._timer: asyncio.TimerHandle | None = None
        self._due_at = 0.0  # the timer
        self._ended = asyncio.Event()
        self._heard = 0
        self._undecodable = 0
        self._failures = 0
        self._codecs: dict[int | None, Any] = _private(receiver, "codecs")
        self._reported: dict[int, StreamStatistics] = _private(receiver, "remote_streams")
        self._take_the_place_of_aiortc(receiver)

    def _take_the_place_of_aiortc(self, receiver: RTCRtpReceiver) -> None:
        assert not _private(receiver, "started"), "expected a receiver before the offer is applied, got one at work"
        receiver._handle_rtp_packet = self._take  # type: ignore[method-assign]  # noqa: SLF001
        receiver.receive = self._begin  # type: ignore[method-assign]
        receiver._RTCRtpReceiver__stop_decoder = self._end  # type: ignore[attr-defined]  # noqa: SLF001

    async def run(self) -> None:
        """Wait until the caller's track ends; returns at once for a caller who only listens."""
        if self._receiver.track is not None:
            await self._ended.wait()

    async def closed(self) -> None:
        """Nothing is handed on any more from here on."""
        self._end()

    def statistics(self) -> ReceiverStatistics:
        jitter = self._buffer.statistics()
        return ReceiverStatistics(
            heard=self._heard,
            lost=jitter.recovered + jitter.concealed,
            undecodable=self._undecodable,
            failures=self._failures,
            jitter=jitter,
        )

    # -- in the place of aiortc's own ----------------------------------------------------------------------------------

    async def _begin(self, parameters: RTCRtpReceiveParameters) -> None:
        """What `RTCRtpReceiver.receive` does for sound, without the decoder's thread."""
        receiver: Any = self._receiver
        if _private(receiver, "started"):
            return
        self._codecs.update({codec.payloadType: codec for codec in parameters.codecs})
        receiver.transport._register_rtp_receiver(receiver, parameters)  # noqa: SLF001
        receiver._RTCRtpReceiver__rtcp_task = asyncio.ensure_future(receiver._run_rtcp())  # noqa: SLF001
        receiver._RTCRtpReceiver__started = True  # noqa: SLF001

    def _end(self) -> None:
        self._ended.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _take(self, packet: RtpPacket, arrival_time_ms: int) -> None:  # noqa: ARG002 (a name that aiortc gives)
        codec = self._codecs.get(packet.payload_type)
        if codec is None or codec.mimeType.lower() != OPUS or not self._receiver._enabled:  # noqa: SLF001
            return
        self._report(packet)
        arrived = VoicePacket(packet.sequence_number, packet.timestamp, packet.ssrc, packet.payload, self._loop.time())
        self._follow(self._buffer.feed(arrived))

    def _report(self, packet: RtpPacket) -> None:
        """Keep what aiortc tells the sender in its reports."""
        reported = self._reported.get(packet.ssrc)
        if reported is None:
            if len(self._reported) >= MOST_SENDERS:
                del self._reported[next(iter(self._reported))]
            reported = self._reported[packet.ssrc] = StreamStatistics(RTP_RATE)
        reported.add(packet)

    # -- from steps to sound -------------------------------------------------------------------------------------------

    def _follow(self, steps: Iterable[Step]) -> None:
        for step in steps:
            self._hand_on(self._sound(step))
        self._watch()

    def _sound(self, step: Step) -> Samples:
        if isinstance(step, Silence):
            return np.zeros(step.samples, np.float32)
        try:
            return self._decoded(step)
        except OpusError:
            self._undecodable += 1
            return self._decoder.conceal(step.samples)

    def _decoded(self, step: Play | Recover | Conceal) -> Samples:
        match step:
            case Play():
                return self._without_surplus(self._decoder.decode(step.payload))
            case Recover():
                return self._decoder.recover(step.payload, step.samples)
            case Conceal():
                return self._decoder.conceal(step.samples)

    def _without_surplus(self, samples: Samples) -> Samples:
        surplus = self._buffer.surplus
        if not surplus or np.abs(samples).max() > QUIET:
            return samples
        cut = min(surplus, len(samples))
        self._buffer.cut(cut)
        return samples[cut:]

    def _hand_on(self, samples: Samples) -> None:
        if not len(samples):
            return
        self._heard += len(samples)
        try:
            self._on_samples(samples)
        except Exception:
            if not self._failures:  # the first tells the story; fifty a second would bury the log
                logger.exception("what came from the caller could not be taken")
            self._failures += 1

    def _watch(self) -> None:
        """See to it that `_tick` is called at the deadline. A timer that is too early is left: it looks again."""
        deadline = self._buffer.deadline
        if deadline is None or (self._timer is not None and self._due_at <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due_at = deadline
        self._timer = self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        # The loop rounds to milliseconds. Should it be early, to look again at once and again would be a busy wait.
        self._follow(self._buffer.tick(max(self._loop.time(), self._due_at)))


def _private(receiver: RTCRtpReceiver, name: str) -> Any:
    return getattr(receiver, f"_RTCRtpReceiver__{name}")
