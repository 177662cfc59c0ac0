"""The reply on its way out: one Opus packet every 20 ms, at the pace of the clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from aiortc import MediaStreamTrack

from edge_client.webrtc.loss_reports import LossEstimate
from edge_client.webrtc.opus import FRAME_SAMPLES, FRAME_SEC, VoiceEncoder, silence_packet
from edge_client.webrtc.opus_packet import RTP_RATE
from edge_client.webrtc.pace import Pace
from routing.turns import Samples

logger = logging.getLogger(__name__)

RTP_TIME_BASE = Fraction(1, RTP_RATE)


@dataclass(frozen=True, slots=True)
class PlayoutTrackStatistics:
    """What was sent since the call began."""

    packets: int
    stalls: int  # times the sender was woken so late that time had to be skipped
    skipped_sec: float  # the time skipped in them
    skipped_frames: int  # the same in frames of 20 ms, which can be added up
    worst_lateness_sec: float
    failures: int  # packets of silence sent because the sound could not be had
    moves: int  # times the ticks were moved to where the caller's packets come
    expected_loss: float  # the part of the packets that the caller lost of late


class PlayoutTrack(MediaStreamTrack):
    """Sends what ``read`` gives: it is called with 480 every 20 ms and returns as many samples at 24 kHz.

    They must not change afterwards. With ``dtx`` next to nothing is sent in silence.
    """

    kind = "audio"

    def __init__(self, read: Callable[[int], Samples], *, dtx: bool = False) -> None:
        super().__init__()
        self._read = read
        self._encoder = VoiceEncoder(dtx=dtx)
        self._pace = Pace()
        self._loss = LossEstimate()
        self._packets = 0
        self._failures = 0

    async def recv(self) -> av.Packet[Any]:
        """Wait until the next packet is due. Raises nothing: an error here would end the sender for good."""
        while True:
            timestamp, payload = await self._next_frame()
            if payload is not None:
                break
        packet = av.Packet(payload)
        packet.pts = timestamp
        packet.time_base = RTP_TIME_BASE
        self._packets += 1
        return packet

    async def _next_frame(self) -> tuple[int, bytes | None]:
        loop = asyncio.get_running_loop()
        # Sleeping even for no time lets everything else on the loop have its turn.
        await asyncio.sleep(self._pace.wait_sec(loop.time()))
        payload = self._payload()
        return self._pace.begin(loop.time(), silent=self._encoder.silent), payload

    def _payload(self) -> bytes | None:
        try:
            return self._encoder.encode(self._read(FRAME_SAMPLES))
        except Exception:
            if not self._failures:  # the first tells the story; fifty a second would bury the log
                logger.exception("the reply could not be read or encoded; silence is sent instead")
            self._failures += 1
            return silence_packet()

    def heard(self) -> None:
        """A packet of the caller's just came: replies are best sent soon after one."""
        self._pace.heard_at(asyncio.get_running_loop().time())

    def lost(self, fraction: float) -> None:
        """The caller lost such a part of the packets since the last time: what follows is made fit for that."""
        self._loss.report(fraction, asyncio.get_running_loop().time())
        self._encoder.expect_loss(self._loss.fraction)

    def statistics(self) -> PlayoutTrackStatistics:
        return PlayoutTrackStatistics(
            packets=self._packets,
            stalls=self._pace.stalls,
            skipped_sec=self._pace.skipped_frames * FRAME_SEC,
            skipped_frames=self._pace.skipped_frames,
            worst_lateness_sec=self._pace.worst_lateness_sec,
            failures=self._failures,
            moves=self._pace.moves,
            expected_loss=self._loss.fraction,
        )
