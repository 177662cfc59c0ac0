"""By how much the clock of the edge differs from the caller's own, as told by questions and answers."""

from __future__ import annotations

import time
from typing import NamedTuple, Self

MOST_READINGS = 16
STEP_SEC = 1e-3  # an edge's event loop may tell the time in whole milliseconds
MOST_MS = 1e15  # since 1970: beyond it no clock is right
DRIFT = 1e-4  # two clocks may part by so many seconds in a second: more than quartz does, less than NTP may do at worst


class ClockEstimate(NamedTuple):
    """What is added to the caller's clock to get the edge's. All in seconds.

    ``round_trip_sec`` is that of the question which told it.
    """

    offset_sec: float
    uncertainty_sec: float
    round_trip_sec: float


class _Reading(NamedTuple):
    offset_sec: float
    round_trip_sec: float
    at: float

    def uncertainty_sec(self, now: float) -> float:
        """The answer was given at some time between question and answer, and both clocks went on since."""
        return STEP_SEC + self.round_trip_sec / 2 + DRIFT * max(0.0, now - self.at)

    def agrees(self, later: _Reading) -> bool:
        """Whether both can be right. Where not, a clock has stood still meanwhile, as in a machine that slept."""
        bound_sec = self.uncertainty_sec(later.at) + later.uncertainty_sec(later.at)
        return abs(later.offset_sec - self.offset_sec) <= bound_sec


class CallerClock:
    """Moments are seconds of a monotonic clock; ``now`` was ``epoch_sec`` seconds since 1970 when it was made.

    The offset is told by the quickest of the latest answers (Cristian's algorithm: F. Cristian, "Probabilistic clock
    synchronization", 1989). Older ones count less and less, since clocks drift,
    and one that is contradicted does not count any more.
    """

    def __init__(self, *, now: float, epoch_sec: float) -> None:
        self._epoch_sec = epoch_sec - now
        self._readings: list[_Reading] = []

    @classmethod
    def of_machine(cls) -> Self:
        """The clock of `time.monotonic`."""
        return cls(now=time.monotonic(), epoch_sec=time.time())

    def feed(self, sent: float, received: float, server_ms: float) -> None:
        """An answer: asked at ``sent``, here at ``received``, by the edge's clock ``server_ms`` since 1970.

        One that cannot be is ignored.
        """
        if received < sent or not abs(server_ms) < MOST_MS:
            return
        offset_sec = server_ms / 1000 - self._epoch(sent + (received - sent) / 2)
        newest = _Reading(offset_sec, received - sent, received)
        kept = [reading for reading in self._readings if reading.agrees(newest)]
        self._readings = [*kept[1 - MOST_READINGS :], newest]

    def estimate(self, now: float) -> ClockEstimate | None:
        """The best there is; None before the first answer."""
        if not self._readings:
            return None
        best = min(self._readings, key=lambda reading: reading.uncertainty_sec(now))
        return ClockEstimate(best.offset_sec, best.uncertainty_sec(now), best.round_trip_sec)

    def edge_ms(self, moment: float, estimate: ClockEstimate) -> float:
        """A moment by the edge's clock, in milliseconds since 1970."""
        return (self._epoch(moment) + estimate.offset_sec) * 1000

    def _epoch(self, moment: float) -> float:
        return moment + self._epoch_sec
