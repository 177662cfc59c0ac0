"""What came of the turns of one cell: counted in all, and along the day."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

STRETCHES = 96  # of a day: a quarter of an hour each


class Tail(NamedTuple):
    """Of many waits, in seconds: each is one that was met. All 0 where there were none."""

    p50: float
    p95: float
    p99: float


@dataclass(slots=True)
class Counts:
    """What became of turns and calls.

    A turn that was ``asked`` is answered by the ``cloud`` or by the ``device``, ``refused`` with a spoken error,
    ``lost`` with the edge that held it, or still ``open``. Under the ``retried`` among those a replica died.
    """

    asked: int = 0
    cloud: int = 0
    device: int = 0
    refused: int = 0
    lost: int = 0
    retried: int = 0
    private: int = 0
    calls: int = 0
    calls_refused: int = 0
    calls_back: int = 0
    handed_over: int = 0
    replicas_failed: int = 0
    gateways_failed: int = 0

    @property
    def open(self) -> int:
        return self.asked - self.cloud - self.device - self.refused - self.lost

    def plus(self, other: Counts) -> Counts:
        """Both together."""
        return Counts(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


@dataclass(slots=True)
class Stretch:
    """A part of the day: sums over ``looks``, and what its turns met."""

    looks: int = 0
    sessions: float = 0.0
    occupied: float = 0.0
    waiting: float = 0.0
    wanted: float = 0.0
    ready: float = 0.0
    alive: float = 0.0
    gateways: float = 0.0
    asked: int = 0
    cloud: int = 0
    device: int = 0
    refused: int = 0
    lost: int = 0
    failures: int = 0
    voice_to_voice: array[float] = field(default_factory=lambda: array("d"))

    def mean(self, name: str) -> float:
        """Of one of the sums, over the looks."""
        return float(getattr(self, name)) / self.looks if self.looks else 0.0


@dataclass(slots=True)
class Tally:
    """Of one cell, or of several added up.

    Args:
        cells: how many
        seconds: played, of each
    """

    cells: int = 1
    seconds: float = 0.0
    counts: Counts = field(default_factory=Counts)
    stretches: list[Stretch] = field(default_factory=lambda: [Stretch() for _ in range(STRETCHES)])
    queue_waits: array[float] = field(default_factory=lambda: array("d"))
    first_audio: array[float] = field(default_factory=lambda: array("d"))
    gaps: array[float] = field(default_factory=lambda: array("d"))  # in replies that a replica died under
    peak_alive: int = 0
    peak_gateways: int = 0

    def voice_to_voice(self) -> Tail:
        """Of all turns that were answered."""
        return tail(np.concatenate([np.asarray(stretch.voice_to_voice) for stretch in self.stretches]))

    def mean(self, name: str) -> float:
        """Over all looks, of all cells together."""
        looks = sum(stretch.looks for stretch in self.stretches)
        total = sum(float(getattr(stretch, name)) for stretch in self.stretches)
        return total / looks * self.cells if looks else 0.0

    def most(self, name: str) -> float:
        """In the stretch that has most of it, of all cells together."""
        return max(stretch.mean(name) for stretch in self.stretches) * self.cells


def tail(waits: NDArray[np.float64] | Sequence[float]) -> Tail:
    """Of seconds."""
    if not len(waits):
        return Tail(0.0, 0.0, 0.0)
    return Tail(*map(float, np.percentile(waits, (50, 95, 99), method="inverted_cdf")))


def together(tallies: Iterable[Tally]) -> Tally:
    """Several cells as one: what is counted adds up, what is felt is felt by all."""
    added = Tally(cells=0)
    for tally in tallies:
        added.cells += tally.cells
        added.seconds = max(added.seconds, tally.seconds)
        added.counts = added.counts.plus(tally.counts)
        for whole, part in zip(added.stretches, tally.stretches, strict=True):
            _add(whole, part)
        for name in ("queue_waits", "first_audio", "gaps"):
            getattr(added, name).extend(getattr(tally, name))
        added.peak_alive += tally.peak_alive
        added.peak_gateways += tally.peak_gateways
    return added


def _add(whole: Stretch, part: Stretch) -> None:
    """Means stay means of a cell, for the looks add up too."""
    for name in Stretch.__dataclass_fields__:
        if name == "voice_to_voice":
            whole.voice_to_voice.extend(part.voice_to_voice)
        else:
            setattr(whole, name, getattr(whole, name) + getattr(part, name))
