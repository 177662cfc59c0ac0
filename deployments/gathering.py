"""When those who wait are run together: a decision that looks at no clock.

Every method takes ``now``, in seconds on a clock that only goes forward.
"""

from __future__ import annotations

import math

HALF_LIFE_SEC = 0.25  # of what is measured: the lull between two sentences makes all forgotten
OVERDUE = 2.0  # times as long as the next call should take to come; then it is waited for no more
SPARE = 0.8  # of its time that the model works; below that, waiting saves work that nobody needs


class Fading:
    """A sum whose parts count less and less."""

    def __init__(self) -> None:
        self.last = -math.inf
        self._sum = 0.0

    def add(self, part: float, now: float) -> None:
        self._sum = self.at(now) + part
        self.last = now

    def at(self, now: float) -> float:
        return self._sum * math.exp2((self.last - now) / HALF_LIFE_SEC)


class Gathering:
    """Decides when those who wait are run, without waiting itself. Asked only while nothing runs.

    Those who came while a batch ran are company enough as long as the model has time to spare: to wait for more then
    makes everybody later. Where it has none, a batch that waits saves work, and so others' time.
    """

    def __init__(self, *, maximum_batch: int, longest_wait_sec: float) -> None:
        self.maximum_batch = maximum_batch
        self._longest_wait_sec = longest_wait_sec
        self._calls = Fading()
        self._work = Fading()

    def arrive(self, now: float) -> None:
        """Somebody calls."""
        self._calls.add(1, now)

    def ran(self, *, began: float, now: float) -> None:
        """A batch has just ended."""
        self._work.add(1 - math.exp2((began - now) / HALF_LIFE_SEC), now)

    def run_at(self, *, waiting: int, oldest: float, now: float) -> float:
        """When to run the ``waiting`` calls, the first of which came at ``oldest``, unless another one comes before.

        It is ``now`` where the batch is full, where the model has time to spare, and where nobody is expected before
        ``longest_wait_sec`` are over.
        """
        if waiting >= self.maximum_batch or self.share_at_work(now) < SPARE:
            return now
        limit, gap_sec = oldest + self._longest_wait_sec, self._gap_sec()
        if self._calls.last + gap_sec > limit:
            return now
        return max(now, min(limit, self._calls.last + OVERDUE * gap_sec))

    def share_at_work(self, now: float) -> float:
        """The share of its time that the model has worked of late, from 0 to 1."""
        return self._work.at(now)

    def _gap_sec(self) -> float:
        """From one call to the next, as they came of late."""
        return HALF_LIFE_SEC / math.log(2) / self._calls.at(self._calls.last)
