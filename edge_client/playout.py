"""The reply on its way to the caller: a bounded buffer that can be held, resumed and cut, and knows what was heard."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from routing.turns import REPLY_SAMPLE_RATE, Samples


@dataclass(frozen=True, slots=True)
class PlayoutStatistics:
    """All counts are samples at 24 kHz."""

    queued: int
    heard: int  # of the current reply, what is believed to be heard included
    underrun: int  # silence played in the middle of the current reply
    dropped: int  # cut before they were heard, over the whole call


class Playout:
    """Mono 24 kHz reply audio between the backend and the sender.

    The writer is told through `room` when to wait; whoever sends calls `read` at its own pace and always gets as many
    samples as it asks for. Nothing here waits or looks at a clock.

    Over a network, what was sent is not yet heard. A sender that learns from its caller's signs of life which of it
    was says so with `acknowledge`, and `take_back` queues the rest once more. ``remember_sec`` is how much is kept for
    that; what is older counts as heard. Zero is for senders that lose nothing.
    """

    def __init__(self, *, capacity_sec: float = 30.0, remember_sec: float = 0.0) -> None:
        self._capacity = int(capacity_sec * REPLY_SAMPLE_RATE)
        self._remembered = int(remember_sec * REPLY_SAMPLE_RATE)
        self._unsure: deque[Samples] = deque()  # read, and not acknowledged
        self._unsure_count = 0
        self._blocks: deque[Samples] = deque()
        self._queued = 0
        self._heard = 0
        self._underrun = 0
        self._dropped = 0
        self._open = False
        self._paused = False

    def begin(self) -> None:
        """A new reply starts: what was heard is counted from zero again. A pause goes on."""
        self._drop()
        self._heard = 0
        self._underrun = 0
        self._open = True

    def write(self, samples: Samples) -> None:
        """Queue more of the current reply. More than the capacity is taken too; look at `room` before the next."""
        self._blocks.append(samples)
        self._queued += len(samples)

    def finish(self) -> None:
        """The current reply is complete: silence after its last sample is not an underrun."""
        self._open = False

    def read(self, count: int) -> Samples:
        """Take the next ``count`` samples, with silence where there is nothing to say."""
        out = np.zeros(count, np.float32)
        if self._paused:
            return out
        filled = self._fill(out)
        self._heard += filled
        self._remember(out[:filled])
        if self._open and self._heard:
            self._underrun += count - filled
        return out

    def _remember(self, sound: Samples) -> None:
        if not self._remembered or not len(sound):
            return
        self._unsure.append(sound)
        self._unsure_count += len(sound)
        while self._unsure_count > self._remembered:
            self._unsure_count -= len(self._unsure.popleft())

    def acknowledge(self) -> None:
        """Everything read so far was heard."""
        self._unsure.clear()
        self._unsure_count = 0

    def take_back(self) -> None:
        """What was read since the last `acknowledge` was not heard: queue it again."""
        self._blocks.extendleft(reversed(self._unsure))
        self._queued += self._unsure_count
        self._heard -= self._unsure_count
        self.acknowledge()

    def _fill(self, out: Samples) -> int:
        filled = 0
        while self._blocks and filled < len(out):
            block = self._blocks.popleft()
            taken = block[: len(out) - filled]
            out[filled : filled + len(taken)] = taken
            filled += len(taken)
            if len(taken) < len(block):
                self._blocks.appendleft(block[len(taken) :])
        self._queued -= filled
        return filled

    def pause(self) -> None:
        """Fall silent at once and keep everything: the caller may only have coughed."""
        self._paused = True

    def resume(self) -> None:
        """Go on where `pause` stopped."""
        self._paused = False

    def flush(self) -> None:
        """Cut the reply: drop what was not heard, and be ready for the next one."""
        self._drop()
        self._open = False
        self._paused = False

    def _drop(self) -> None:
        self._dropped += self._queued
        self._blocks.clear()
        self._queued = 0
        self.acknowledge()

    @property
    def heard(self) -> int:
        """Samples of the current reply that were read by the sender, and not taken back."""
        return self._heard

    @property
    def room(self) -> bool:
        """Whether the writer may go on."""
        return self._queued < self._capacity

    @property
    def silent(self) -> bool:
        """Whether everything written was heard or cut."""
        return not self._queued and not self._unsure

    def statistics(self) -> PlayoutStatistics:
        return PlayoutStatistics(self._queued, self._heard, self._underrun, self._dropped)
