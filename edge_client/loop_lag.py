"""Whether the event loop keeps time: how late it comes to what was due, over the last minute.

All sound passes through one loop, so whatever holds it up is heard. Timers count whole milliseconds: a lag of less than
one says nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

WINDOW_SEC = 60.0
TICK_SEC = 0.05
WINDOW_TICKS = round(WINDOW_SEC / TICK_SEC)  # 1200


@dataclass(frozen=True, slots=True)
class LoopLagStatistics:
    """How late the loop was at evenly spaced moments of the last minute; zeros before the first."""

    p50_sec: float
    p99_sec: float
    worst_sec: float


class LoopLag:
    """Keeps the lags of the last minute. Time is passed in; `watch_loop` feeds it.

    While the loop is held up it also misses the ticks that come due meanwhile. They count as well, each with the time
    it had to wait: otherwise a stall of a second would be one good moment among hundreds.
    """

    def __init__(self) -> None:
        self._lags = deque[float](maxlen=WINDOW_TICKS)
        self._due: float | None = None

    def wait_sec(self, now: float) -> float:
        """How long until the next tick is due."""
        if self._due is None:
            self._due = now + TICK_SEC
        return max(self._due - now, 0.0)

    def woke(self, now: float) -> None:
        """The loop came to the tick that was due."""
        due = now if self._due is None else self._due
        late = max(now - due, 0.0)
        missed = int(late / TICK_SEC)
        self._lags.extend(late - index * TICK_SEC for index in range(max(missed - WINDOW_TICKS, 0), missed + 1))
        self._due = due + (missed + 1) * TICK_SEC

    def statistics(self) -> LoopLagStatistics:
        lags = sorted(self._lags) or [0.0]
        last = len(lags) - 1
        return LoopLagStatistics(p50_sec=lags[round(0.5 * last)], p99_sec=lags[round(0.99 * last)], worst_sec=lags[-1])


async def watch_loop(lag: LoopLag, *, clock: Callable[[], float] = time.perf_counter) -> None:
    """Measure the running loop until cancelled; costs twenty wake-ups a second."""
    while True:
        await asyncio.sleep(lag.wait_sec(clock()))
        lag.woke(clock())
