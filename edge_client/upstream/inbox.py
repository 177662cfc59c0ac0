"""Server events on their way to whoever reads them: as many as there is room for, then the server waits."""

from __future__ import annotations

import asyncio
from collections import deque

from routing.errors import BackendError


class Inbox:
    """Messages in their order, ``limit`` characters of them and one more.

    For one writer, who waits for room, and one reader, who waits for messages.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._messages: deque[str] = deque()
        self._characters = 0
        self._fault: BackendError | None = None
        self._changed = asyncio.Event()

    async def put(self, message: str) -> None:
        """Take the next message when there is room."""
        while self._characters >= self._limit:
            await self._change()
        self._messages.append(message)
        self._characters += len(message)
        self._changed.set()

    async def get(self) -> str:
        """The next message.

        Raises:
            BackendError: all were read, and no more will come.
        """
        while not self._messages:
            if self._fault:
                raise self._fault
            await self._change()
        message = self._messages.popleft()
        self._characters -= len(message)
        self._changed.set()
        return message

    def end(self, fault: BackendError) -> None:
        """Nothing will come behind what is there; ``fault`` says why."""
        self._fault = self._fault or fault
        self._changed.set()

    def widen(self, limit: int) -> None:
        """Make room."""
        self._limit = limit
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
