"""Who is being answered: how many at once, how soon their first sound came, and how long it took them to be told all.

Every method that looks at time takes ``now``, in seconds on any clock that only goes forward.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from math import ceil

from routing.errors import AtCapacity
from routing.turns import AudioChunk, Backend, Exchange, Heard, ReplyEvent, Turn

WINDOW_SEC = 60.0
MOST_KEPT = 4096  # figures of one kind; beyond them the window is shorter
RETRY_AFTER_SEC = 1.0  # while it is not known how long replies take


class RecentFigures:
    """Figures of the last minute."""

    def __init__(self) -> None:
        self._figures: deque[tuple[float, float]] = deque(maxlen=MOST_KEPT)

    def add(self, figure: float, now: float) -> None:
        self._figures.append((now, figure))

    def quantile(self, level: float, now: float) -> float | None:
        """The smallest figure that a share of ``level`` of all do not exceed, or None where there are none."""
        while self._figures and self._figures[0][0] < now - WINDOW_SEC:
            self._figures.popleft()
        figures = sorted(figure for _, figure in self._figures)
        return figures[max(ceil(level * len(figures)) - 1, 0)] if figures else None


@dataclass(slots=True, eq=False)
class Attended:
    """One reply that is being given."""

    asked_at: float
    has_sounded: bool = False


@dataclass(slots=True)
class Attendance:
    """Counts the replies that are being given, and refuses those beyond ``slots``, where there are so many."""

    slots: int | None = None
    in_use: int = 0
    _first_audio_sec: RecentFigures = field(default_factory=RecentFigures)
    _reply_sec: RecentFigures = field(default_factory=RecentFigures)

    def begin(self, now: float) -> Attended:
        """Count a reply that is asked for.

        Raises:
            AtCapacity: so many are being given already, with the time in which one of them is likely to end.
        """
        if self.slots is not None and self.in_use >= self.slots:
            message = f"all {self.slots} slots are in use"
            raise AtCapacity(message, retry_after_sec=self.free_after_sec(self.slots, now) or RETRY_AFTER_SEC)
        self.in_use += 1
        return Attended(now)

    def take(self, attended: Attended, event: ReplyEvent, now: float) -> None:
        """Look at what a reply tells."""
        if isinstance(event, AudioChunk) and not attended.has_sounded:
            attended.has_sounded = True
            self._first_audio_sec.add(now - attended.asked_at, now)

    def end(self, attended: Attended, now: float) -> None:
        """Nobody reads this reply any more."""
        self.in_use -= 1
        self._reply_sec.add(now - attended.asked_at, now)

    def first_audio_p95_sec(self, now: float) -> float | None:
        """From asking to the first sound, over the last minute; None while nothing was heard."""
        return self._first_audio_sec.quantile(0.95, now)

    def free_after_sec(self, slots: int, now: float) -> float:
        """How long it takes until one of ``slots`` that are all in use gets free; 0 while that is not known."""
        return (self._reply_sec.quantile(0.5, now) or 0.0) / slots


class AttendedBackend:
    """A backend whose replies are counted. Each is refused where the attendance has no slot for it."""

    def __init__(self, backend: Backend, attendance: Attendance) -> None:
        self.name = backend.name
        self._backend = backend
        self._attendance = attendance

    @asynccontextmanager
    async def open(self, turn: Turn, *, on_heard: Callable[[Heard], None]) -> AsyncIterator[Exchange]:
        """See `routing.turns.Backend`."""
        async with self._backend.open(turn, on_heard=on_heard) as exchange:
            yield AttendedExchange(exchange, self._attendance)


class AttendedExchange:
    """One turn of an `AttendedBackend`."""

    def __init__(self, exchange: Exchange, attendance: Attendance) -> None:
        self.feed = exchange.feed
        self.commit = exchange.commit
        self._exchange = exchange
        self._attendance = attendance

    async def reply(self) -> AsyncGenerator[ReplyEvent]:
        """See `routing.turns.Exchange`; raises AtCapacity at once where all slots are in use."""
        clock = asyncio.get_running_loop().time
        attended = self._attendance.begin(clock())
        try:
            async with aclosing(self._exchange.reply()) as events:
                async for event in events:
                    self._attendance.take(attended, event, clock())
                    yield event
        finally:
            self._attendance.end(attended, clock())
