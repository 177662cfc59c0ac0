"""What the cloud told of one attempt and nobody has read yet."""

from __future__ import annotations

import asyncio
from collections import deque

from routing.errors import BackendError
from routing.turns import ReplyEvent

MAXIMUM_EVENTS = 256  # some seconds of speech; when full, the socket is not read until there is room


class Track:
    """A bounded queue between who receives and who reads, which tells of a fault after all that came before it."""

    def __init__(self, attempt: int) -> None:
        self.attempt = attempt
        self._events: deque[ReplyEvent] = deque()
        self._fault: BackendError | None = None
        self._closed = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    async def put(self, event: ReplyEvent) -> None:
        """Add an event; waits while the track is full, and drops it where nobody reads any more."""
        while len(self._events) >= MAXIMUM_EVENTS and not self._closed:
            self._room.clear()
            await self._room.wait()
        if not self._closed:
            self._events.append(event)
            self._news.set()

    def fail(self, fault: BackendError) -> None:
        """Nothing more will come."""
        self._fault = self._fault or fault
        self._news.set()

    async def next(self) -> ReplyEvent:
        """The next event, in the order they came.

        Raises:
            BackendError: there will be none.
        """
        while not self._events:
            if self._fault is not None:
                raise self._fault
            self._news.clear()
            await self._news.wait()
        self._room.set()
        return self._events.popleft()

    def close(self) -> None:
        """Nobody reads any more."""
        self._closed = True
        self._events.clear()
        self._room.set()
