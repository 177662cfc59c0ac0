"""When those who wait are run together: a decision that looks at no clock.

Every method takes ``now``, in seconds on a clock that only goes forward.
"""

from __future__ import annotations

import math

HALF_LIFE_SEC = 0.25  # of a call's share in the measured rate: the lull between two sentences makes all forgotten
OVERDUE = 2.0  # times as long as the next call should take to come; then it is waited for no more


class Arrivals:
    """How often calls come, of late."""

    def __init__(self) -> None:
        self.last = -math.inf
        self._weight = 0.0

    def arrive(self, now: float) -> None:
        self._weight = self._faded(now) + 1
        self.last = now

    def rate(self, now: float) -> float:
        """Calls a second."""
        return self._faded(now) * math.log(2) / HALF_LIFE_SEC

    def _faded(self, now: float) -> float:
        return self._weight * math.exp2((self.last - now) / HALF_LIFE_SEC)


class Gathering:
    """Decides when those who wait are run, without waiting itself. Asked only while nothing runs."""

    def __init__(self, *, maximum_batch: int, longest_wait_sec: float) -> None:
        self.maximum_batch = maximum_batch
        self._longest_wait_sec = longest_wait_sec
        self._arrivals = Arrivals()

    def arrive(self, now: float) -> None:
        """Somebody calls."""
        self._arrivals.arrive(now)

    def run_at(self, *, waiting: int, oldest: float, now: float) -> float:
        """When to run the ``waiting`` calls, the first of which came at ``oldest``, unless another one comes before.

        It is ``now`` where the batch is full, and where nobody is expected before ``longest_wait_sec`` are over.
        """
        limit = oldest + self._longest_wait_sec
        rate = self._arrivals.rate(self._arrivals.last)
        if waiting >= self.maximum_batch or self._arrivals.last + 1 / rate > limit:
            return now
        return max(now, min(limit, self._arrivals.last + OVERDUE / rate))
