"""What the cloud told of one attempt and nobody has read yet."""

from __future__ import annotations

import asyncio
from collections import deque

from routing.allowance import characters_of
from routing.errors import BackendError
from routing.turns import REPLY_SAMPLE_RATE, AudioChunk, ReplyEvent

MAXIMUM_EVENTS = 256  # some seconds of speech; when full, the socket is not read until there is room
MAXIMUM_SIZE = 15 * REPLY_SAMPLE_RATE  # of all together, in samples and characters: an event may be a megabyte


class Track:
    """A bounded queue between who receives and who reads, which tells of a fault after all that came before it."""

    def __init__(self, attempt: int) -> None:
        self.attempt = attempt
        self._events: deque[ReplyEvent] = deque()
        self._size = 0
        self._fault: BackendError | None = None
        self._closed = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    async def put(self, event: ReplyEvent) -> None:
        """Add an event; waits while the track is full, and drops it where nobody reads any more."""
        while self._is_full and not self._closed:
            self._room.clear()
            await self._room.wait()
        if not self._closed:
            self._events.append(event)
            self._size += _size(event)
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
        event = self._events.popleft()
        self._size -= _size(event)
        self._room.set()
        return event

    def close(self) -> None:
        """Nobody reads any more."""
        self._closed = True
        self._events.clear()
        self._room.set()

    @property
    def _is_full(self) -> bool:
        return len(self._events) >= MAXIMUM_EVENTS or self._size >= MAXIMUM_SIZE


def _size(event: ReplyEvent) -> int:
    return len(event.samples) if isinstance(event, AudioChunk) else characters_of(event)
