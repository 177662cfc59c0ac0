"""The caller's voice on its way in: mono, 16 kHz, in order, with silence where packets were lost.

The private names of aiortc used here are held by `tests/test_webrtc_receiver.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import av
import numpy as np
from aiortc import RTCRtpReceiver
from aiortc.jitterbuffer import JitterBuffer
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from edge_client.audio import Resampler
from routing.turns import SPEECH_SAMPLE_RATE, Samples

DECODED_RATE = 48_000  # aiortc decodes Opus to this, in stereo
LONGEST_GAP_SEC = 2.0

# How much more sound than time may be missing: after a pause of the network several packets come at once. Anything
# beyond is a caller who began to count anew, and not loss.
GAP_TOLERANCE_SEC = 0.5


@dataclass(frozen=True, slots=True)
class ReceiverStatistics:
    """All counts are samples at 16 kHz since the call began."""

    heard: int
    lost: int  # silence put in the place of what never came; part of `heard`


class GapDetector:
    """Tells from the timestamps how much sound is missing before each frame."""

    def __init__(self) -> None:
        self._expected: int | None = None
        self._heard_at = 0.0

    def missing(self, timestamp: int, samples: int, now: float) -> int:
        """``samples`` came at ``timestamp``, both counted at `DECODED_RATE`; returns what should have come before."""
        expected = timestamp if self._expected is None else self._expected
        passed_sec = now - self._heard_at
        self._expected = timestamp + samples
        self._heard_at = now
        most = min(passed_sec + GAP_TOLERANCE_SEC, LONGEST_GAP_SEC) * DECODED_RATE
        return max(min(timestamp - expected, int(most)), 0)


class Receiver:
    """Hands each frame of one call to ``on_samples``, on the event loop, as soon as it is decoded.

    It must exist before the offer is applied, and `run` from then on: sound that nobody takes piles up. `closed` is
    for the end, after the connection was closed.
    """

    def __init__(self, receiver: RTCRtpReceiver, on_samples: Callable[[Samples], None]) -> None:
        _shorten_jitter_buffer(receiver)
        self._stopping: asyncio.Future[None] | None = None
        self._stop_decoder_elsewhere(receiver)
        self._receiver = receiver
        self._on_samples = on_samples
        self._resampler = Resampler(DECODED_RATE, SPEECH_SAMPLE_RATE)
        self._gaps = GapDetector()
        self._heard = 0
        self._missing = 0  # at `DECODED_RATE`

    async def run(self) -> None:
        """Read until the caller's track ends; returns at once for a caller who only listens."""
        track = cast("MediaStreamTrack | None", self._receiver.track)
        if track is None:
            return
        while frame := await _next_frame(track):
            self._take(frame)

    async def closed(self) -> None:
        """Wait until the decoder's thread has ended."""
        if self._stopping is not None:
            await self._stopping

    def _stop_decoder_elsewhere(self, receiver: RTCRtpReceiver) -> None:
        """aiortc waits for its decoder thread inside the event loop, where every other call would wait with it."""
        stop = receiver._RTCRtpReceiver__stop_decoder  # type: ignore[attr-defined]  # noqa: SLF001

        def stop_elsewhere() -> None:
            if self._stopping is None:
                self._stopping = asyncio.get_running_loop().run_in_executor(None, stop)

        receiver._RTCRtpReceiver__stop_decoder = stop_elsewhere  # type: ignore[attr-defined]  # noqa: SLF001

    def _take(self, frame: av.AudioFrame) -> None:
        now = asyncio.get_running_loop().time()
        missing = self._gaps.missing(frame.pts or 0, frame.samples, now)
        if missing:
            self._missing += missing
            self._pass_on(np.zeros(missing, np.float32))
        self._pass_on(_mono(frame))

    def _pass_on(self, decoded: Samples) -> None:
        samples = self._resampler.feed(decoded)
        self._heard += len(samples)
        self._on_samples(samples)

    def statistics(self) -> ReceiverStatistics:
        return ReceiverStatistics(self._heard, self._missing * SPEECH_SAMPLE_RATE // DECODED_RATE)


def _shorten_jitter_buffer(receiver: RTCRtpReceiver) -> None:
    """As aiortc makes it, the buffer delays by 80 ms, and by 280 ms for good after the first loss."""
    buffer = JitterBuffer(capacity=4, prefetch=0)
    receiver._RTCRtpReceiver__jitter_buffer = buffer  # type: ignore[attr-defined]  # noqa: SLF001


async def _next_frame(track: MediaStreamTrack) -> av.AudioFrame | None:
    try:
        return cast("av.AudioFrame", await track.recv())
    except MediaStreamError:
        return None


def _mono(frame: av.AudioFrame) -> Samples:
    stereo = frame.to_ndarray().reshape(-1, 2)
    mono: Samples = stereo.mean(axis=1, dtype=np.float32) / np.float32(32768)
    return mono
