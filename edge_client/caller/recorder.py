"""What was received, and when."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_client.caller.loudness import FAINTEST_SAMPLE, is_audible
from routing.turns import AudioChunk, Samples

MOST_FRAMES = 15_000  # five minutes of 20 ms


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """A stretch of decoded sound that could be played from the moment ``at`` (seconds of the caller's clock)."""

    at: float
    chunk: AudioChunk  # never empty

    @property
    def audible(self) -> bool:
        """Whether anything can be heard in it."""
        return is_audible(self.chunk.samples, self.chunk.sample_rate)

    @property
    def is_sound(self) -> bool:
        """Whether it is anything but silence, be it too faint to be heard."""
        return float(np.abs(self.chunk.samples).max()) > FAINTEST_SAMPLE


class Recorder:
    """Keeps the sound of one turn, frame by frame; of a very long one, the end."""

    def __init__(self) -> None:
        self._arrivals: deque[Arrival] = deque(maxlen=MOST_FRAMES)
        self.audible = False  # whether anything could be heard so far

    def write(self, arrival: Arrival) -> None:
        self._arrivals.append(arrival)
        self.audible |= arrival.audible

    @property
    def arrivals(self) -> tuple[Arrival, ...]:
        return tuple(self._arrivals)


def joined(arrivals: Sequence[Arrival]) -> Samples:
    """All frames one after the other, without regard to when they came."""
    return np.concatenate([a.chunk.samples for a in arrivals]) if arrivals else np.zeros(0, np.float32)
