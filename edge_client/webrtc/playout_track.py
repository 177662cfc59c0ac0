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

from edge_client.webrtc.opus import FRAME_SAMPLES, FRAME_SEC, VoiceEncoder, silence_packet
from routing.turns import Samples

logger = logging.getLogger(__name__)

RTP_RATE = 48_000  # of the timestamps of Opus, whatever the rate of the sound
RTP_TIME_BASE = Fraction(1, RTP_RATE)
FRAME_TICKS = round(FRAME_SEC * RTP_RATE)  # 960
LONGEST_BURST_SEC = 2 * FRAME_SEC  # being later than this is a stall, and not caught up with


@dataclass(frozen=True, slots=True)
class PlayoutTrackStatistics:
    """What was sent since the call began."""

    packets: int
    stalls: int  # times the sender was woken so late that time had to be skipped
    skipped_sec: float  # the time skipped in them
    worst_lateness_sec: float
    failures: int  # packets of silence sent because the sound could not be had


class Pace:
    """When each frame is due, and at which RTP timestamp. Time is passed in; nothing here waits.

    A frame that is a little late is sent at once, and the next is due as if it had been in time. After a stall the
    timestamps move on with the clock, so that the listener hears a gap and not a reply that stays late for good.
    """

    def __init__(self) -> None:
        self._due: float | None = None
        self._timestamp = 0
        self.stalls = 0
        self.skipped_frames = 0
        self.worst_lateness_sec = 0.0

    def wait_sec(self, now: float) -> float:
        """How long until the next frame is due."""
        return 0.0 if self._due is None else max(self._due - now, 0.0)

    def begin(self, now: float) -> int:
        """The next frame leaves now; returns its RTP timestamp."""
        due = now if self._due is None else self._due
        self.worst_lateness_sec = max(self.worst_lateness_sec, now - due)
        skipped = self._skip(now - due)
        timestamp = self._timestamp + skipped * FRAME_TICKS
        self._due = due + (skipped + 1) * FRAME_SEC
        self._timestamp = timestamp + FRAME_TICKS
        return timestamp

    def _skip(self, lateness: float) -> int:
        if lateness <= LONGEST_BURST_SEC:
            return 0
        skipped = int(lateness / FRAME_SEC)
        self.stalls += 1
        self.skipped_frames += skipped
        return skipped


class PlayoutTrack(MediaStreamTrack):
    """Sends what ``read`` gives: it is called with 480 every 20 ms and returns as many samples at 24 kHz."""

    kind = "audio"

    def __init__(self, read: Callable[[int], Samples]) -> None:
        super().__init__()
        self._read = read
        self._encoder = VoiceEncoder()
        self._pace = Pace()
        self._packets = 0
        self._failures = 0

    async def recv(self) -> av.Packet[Any]:
        """Wait until the next packet is due. Raises nothing: an error here would end the sender for good."""
        loop = asyncio.get_running_loop()
        # Sleeping even for no time lets everything else on the loop have its turn.
        await asyncio.sleep(self._pace.wait_sec(loop.time()))
        packet = av.Packet(self._payload())
        packet.pts = self._pace.begin(loop.time())
        packet.time_base = RTP_TIME_BASE
        self._packets += 1
        return packet

    def _payload(self) -> bytes:
        try:
            return self._encoder.encode(self._read(FRAME_SAMPLES))
        except Exception:
            if not self._failures:  # the first tells the story; fifty a second would bury the log
                logger.exception("the reply could not be read or encoded; silence is sent instead")
            self._failures += 1
            return silence_packet()

    def statistics(self) -> PlayoutTrackStatistics:
        return PlayoutTrackStatistics(
            packets=self._packets,
            stalls=self._pace.stalls,
            skipped_sec=self._pace.skipped_frames * FRAME_SEC,
            worst_lateness_sec=self._pace.worst_lateness_sec,
            failures=self._failures,
        )
