"""A link in real time: hands each packet over when it is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from edge_client.network.link import Link, LinkStatistics
from edge_client.network.profile import NetworkProfile

TICK_SEC = 0.0005  # uvloop rounds its timers to the millisecond: what is due within half of one is due


class Packet(NamedTuple):
    """Packets compare by when they are due, and those due together by when they were sent."""

    due: float
    number: int
    deliver: Callable[[], None]


class Wire:
    """One direction on the event loop's clock. A timer each would not do: equal ones may fire in any order."""

    def __init__(self, profile: NetworkProfile, *, seed: int) -> None:
        self._link = Link(profile, seed=seed)
        self._loop = asyncio.get_running_loop()
        self._numbers = count()
        self._waiting: list[Packet] = []
        self._timer: asyncio.TimerHandle | None = None

    def carry(self, size: int, deliver: Callable[[], None]) -> None:
        """Send a packet of ``size`` bytes, headers and all; ``deliver`` is called when it arrives, if it does."""
        due = self._link.send(size, self._loop.time())
        if due is not None:
            self._wait(due, deliver)

    def follow(self, deliver: Callable[[], None]) -> None:
        """Call ``deliver`` right after the last of the packets that are under way now."""
        last_due = max((packet.due for packet in self._waiting), default=self._loop.time())
        self._wait(last_due, deliver)

    def cut(self) -> None:
        """Let nothing through from now on; what is under way arrives."""
        self._link.cut()

    def restore(self) -> None:
        """Undo `cut`."""
        self._link.restore()

    def close(self) -> None:
        """Forget what is under way."""
        self._waiting.clear()
        self._arm()

    def statistics(self) -> LinkStatistics:
        return self._link.statistics()

    def _wait(self, due: float, deliver: Callable[[], None]) -> None:
        heappush(self._waiting, Packet(due, next(self._numbers), deliver))
        if self._waiting[0].due == due:  # else the timer is for an earlier one already
            self._deliver()

    def _deliver(self) -> None:
        try:
            while self._waiting and self._waiting[0].due <= self._loop.time() + TICK_SEC:
                heappop(self._waiting).deliver()
        finally:  # whatever one of them raised, the others arrive
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._waiting[0].due, self._deliver) if self._waiting else None
