"""What will happen, in the order of its time."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

type Handler = Callable[[Any], None]


class Agenda:
    """Happenings with their time. What is planned for the same moment happens in the order in which it was planned."""

    def __init__(self) -> None:
        self.now = 0.0
        self._count = 0
        self._planned: list[tuple[float, int, Handler, Any]] = []

    def after(self, seconds: float, handler: Handler, what: Any = None) -> None:
        """Call ``handler(what)`` so much later."""
        self._count += 1
        heappush(self._planned, (self.now + seconds, self._count, handler, what))

    def play(self, until: float) -> None:
        """Let everything happen that comes before ``until``."""
        planned = self._planned
        while planned and planned[0][0] < until:
            self.now, _, handler, what = heappop(planned)
            handler(what)
        self.now = until
