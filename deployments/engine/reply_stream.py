"""What a reply's events pass through on their way from the engine's thread to whoever reads them on the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable

from routing.turns import ReplyEnd, ReplyEvent


class ReplyStream:
    """One reader on the event loop, fed once per step. Used on the loop's thread only.

    It has no bound of its own: the engine rests a reply that is far ahead of its playing, and ends it at the longest
    length allowed.
    """

    def __init__(self) -> None:
        self._events: deque[ReplyEvent] = deque()
        self._error: BaseException | None = None
        self._news = asyncio.Event()

    def feed(self, events: Iterable[ReplyEvent]) -> None:
        self._events.extend(events)
        self._news.set()

    def fail(self, error: BaseException) -> None:
        """End with ``error``, after what was fed before."""
        self._error = self._error or error
        self._news.set()

    async def events(self) -> AsyncGenerator[ReplyEvent]:
        """Each event as it comes, up to `ReplyEnd`.

        Raises:
            BackendError: the reply failed; what came before it may be used.
        """
        while True:
            while self._events:
                event = self._events.popleft()
                yield event
                if isinstance(event, ReplyEnd):
                    return
            if self._error is not None:
                raise self._error
            self._news.clear()
            await self._news.wait()
