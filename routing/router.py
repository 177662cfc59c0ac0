"""Sends each turn to a backend, and says where it went."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

from routing.turns import AudioChunk, Backend, Exchange, Heard, Placement, ReplyEvent, Turn


class Router:
    """A `Backend` over backends. With one backend there is nothing to choose; every reply still names its placement."""

    name = "router"

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @asynccontextmanager
    async def open(self, turn: Turn, *, on_heard: Callable[[Heard], None]) -> AsyncIterator[Exchange]:
        async with self._backend.open(turn, on_heard=on_heard) as exchange:
            yield _PlacedExchange(exchange, Placement(self._backend.name, reason="only backend"))


class _PlacedExchange:
    """An exchange whose replies begin with the placement."""

    def __init__(self, exchange: Exchange, placement: Placement) -> None:
        self._exchange = exchange
        self._placement = placement

    def feed(self, chunk: AudioChunk) -> None:
        self._exchange.feed(chunk)

    async def reply(self) -> AsyncGenerator[ReplyEvent]:
        yield self._placement
        async with aclosing(self._exchange.reply()) as events:
            async for event in events:
                yield event

    def commit(self) -> None:
        self._exchange.commit()
