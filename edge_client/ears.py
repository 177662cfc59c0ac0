"""Listens: microphone samples in, frames with their end-of-turn signals out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np

from edge_client.endpointer import FRAME_SAMPLES, Endpointer, EndpointerSettings, EndpointSignal
from edge_client.fading import Fading
from routing.turns import SPEECH_SAMPLE_RATE, Samples

FRAME_SEC = FRAME_SAMPLES / SPEECH_SAMPLE_RATE  # 0.032
PRE_ROLL_FRAMES = 10  # 320 ms: the soft beginning of a word comes before the detector is sure
FRAMES_AT_ONCE = 16  # judged in one hop to the detector's thread when the listener is behind
INBOX_SAMPLES = 60 * SPEECH_SAMPLE_RATE
COMFORTABLE_SAMPLES = SPEECH_SAMPLE_RATE  # a sender that can wait does so above this
STALL_SEC = 0.4  # a turn whose audio stops arriving for this long goes on in silence, so that it ends


class VoiceDetector(Protocol):
    """Says how likely a frame of 512 samples at 16 kHz is speech; keeps the state of one stream."""

    def probability(self, frame: Samples) -> float: ...


class DetectorThread(Protocol):
    """Where detectors run; `ModelThread` is one."""

    async def run[T](self, function: Callable[[], T]) -> T: ...


class HeardFrame(NamedTuple):
    """One frame of 512 samples and what it told the endpointer."""

    samples: Samples
    signals: Sequence[EndpointSignal]


@dataclass(frozen=True, slots=True)
class EarsStatistics:
    """Counts are samples at 16 kHz."""

    received: int
    waiting: int
    overflowed: int
    filled: int  # silence put in for a stream that stalled in the middle of a turn


class Ears:
    """One caller's microphone stream, cut into frames, judged on the detector's thread."""

    def __init__(self, *, detector: VoiceDetector, thread: DetectorThread, settings: EndpointerSettings) -> None:
        self._detector = detector
        self._thread = thread
        self.endpointer = Endpointer(settings)
        self._fading = Fading()
        self._manual = settings.mode == "manual"
        self._inbox: deque[Samples] = deque()
        self._waiting = 0
        self._received = 0
        self._overflowed = 0
        self._filled = 0
        self._end = 0  # of what came in, as a position of the conversation
        self._stalled = False
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()
        self._recent: deque[Samples] = deque(maxlen=PRE_ROLL_FRAMES)
        self._arrivals: deque[tuple[int, float]] = deque(maxlen=1024)

    def attend(self, settings: EndpointerSettings) -> None:
        """Listen by other rules from the next frame on. A turn that was open is forgotten: `clear` first."""
        replying = self.endpointer.replying
        self.endpointer = Endpointer(settings, position=self.endpointer.position)
        self.endpointer.replying = replying
        self._manual = settings.mode == "manual"
        self._changed.set()

    def hear(self, samples: Samples) -> None:
        """Take mono 16 kHz samples, any number at a time; the oldest are dropped when a minute waits already."""
        if len(samples):
            self._append(samples)
            self._drop_excess()

    def _drop_excess(self) -> None:
        while self._waiting > INBOX_SAMPLES:
            dropped = len(self._inbox.popleft())
            self._waiting -= dropped
            self._overflowed += dropped
            self._end -= dropped

    def _append(self, samples: Samples) -> None:
        self._stalled = False
        self._inbox.append(samples)
        self._waiting += len(samples)
        self._received += len(samples)
        self._end += len(samples)
        self._arrivals.append((self._end, asyncio.get_running_loop().time()))
        self._changed.set()

    async def room(self) -> None:
        """Return when the listener has caught up; for senders faster than real time."""
        while self._waiting > COMFORTABLE_SAMPLES and not self._manual:
            self._taken.clear()
            await self._taken.wait()

    async def frames(self) -> AsyncGenerator[HeardFrame]:
        """Every frame as it is understood, for ever."""
        while True:
            block = await self._next_block()
            for frame, probability in zip(block, await self._judge(block), strict=True):
                self._recent.append(frame)
                yield HeardFrame(frame, self.endpointer.feed(probability, sound=self._fading.sound(frame)))

    async def _next_block(self) -> list[Samples]:
        while self._manual or self._waiting < FRAME_SAMPLES:
            self._changed.clear()
            try:
                async with asyncio.timeout(self._patience):
                    await self._changed.wait()
            except TimeoutError:
                return [self._silence()]
        count = min(self._waiting // FRAME_SAMPLES, FRAMES_AT_ONCE)
        return np.split(self._take(count * FRAME_SAMPLES), count)

    @property
    def _patience(self) -> float | None:
        if not self.endpointer.in_turn:
            return None
        return FRAME_SEC if self._stalled else STALL_SEC

    def _silence(self) -> Samples:
        self._stalled = True
        self._filled += FRAME_SAMPLES
        self._end += FRAME_SAMPLES
        return np.zeros(FRAME_SAMPLES, np.float32)

    def _take(self, count: int) -> Samples:
        blocks = [np.zeros(0, np.float32)]
        while count:
            block = self._inbox.popleft()
            if len(block) > count:
                self._inbox.appendleft(block[count:])
                block = block[:count]
            blocks.append(block)
            count -= len(block)
            self._waiting -= len(block)
        self._taken.set()
        return np.concatenate(blocks)

    async def _judge(self, block: Sequence[Samples]) -> list[float]:
        return await self._thread.run(partial(_probabilities, self._detector, block))

    def take_kept(self) -> Samples:
        """In the manual mode: everything heard since the last call, at most the last minute."""
        if not self._manual:
            return np.zeros(0, np.float32)
        self._end -= self._waiting  # it never becomes part of the stream that is judged
        self._arrivals.clear()
        return self._take(self._waiting)

    @property
    def kept_since(self) -> float | None:
        """When the first of what is kept reached us, as far back as that is known; None where nothing is kept."""
        return self._arrivals[0][1] if self._manual and self._arrivals else None

    @property
    def pre_roll(self) -> list[Samples]:
        """The frames up to now that a new turn should begin with."""
        return list(self._recent)

    def arrived_at(self, position: int) -> float:
        """When the sample at ``position`` of the conversation reached us, in event loop time."""
        times = (time for end, time in self._arrivals if end >= position)
        return next(times, asyncio.get_running_loop().time())

    def statistics(self) -> EarsStatistics:
        return EarsStatistics(self._received, self._waiting, self._overflowed, self._filled)


def _probabilities(detector: VoiceDetector, block: Sequence[Samples]) -> list[float]:
    return [detector.probability(frame) for frame in block]
