"""Sends each turn to a backend, and says where it went."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

from routing.contender import Contender
from routing.policy import DeviceState
from routing.record import PlacementRecord
from routing.settings import RoutingSettings
from routing.turns import AudioChunk, Backend, Exchange, Heard, Placement, ReplyEvent, Turn


def _forget(_: PlacementRecord) -> None:
    """Nobody wants to know."""


class Router:
    """A `Backend` over backends: each turn is answered by one of the contenders, and by another where that one fails.

    Args:
        contenders: who may answer, those on this machine first. The first of all writes down what the user says.
        settings: the policy, and how long to wait for whom
        device_state: how the machine is doing, asked at each decision
        on_placed: gets the record of each turn that was released, once, when it is over
    """

    name = "router"

    def __init__(
        self,
        contenders: Sequence[Contender],
        *,
        settings: RoutingSettings = RoutingSettings(),  # noqa: B008 it is frozen
        device_state: Callable[[], DeviceState] = DeviceState,
        on_placed: Callable[[PlacementRecord], None] = _forget,
    ) -> None:
        self._contenders = tuple(contenders)
        self._settings = settings
        self._device_state = device_state
        self._on_placed = on_placed

    @classmethod
    def over(cls, backend: Backend) -> Router:
        """With one backend there is nothing to choose; every reply still names its placement."""
        return cls([Contender.here(backend)])

    @asynccontextmanager
    async def open(self, turn: Turn, *, on_heard: Callable[[Heard], None]) -> AsyncIterator[Exchange]:
        only = self._contenders[0].backend
        async with only.open(turn, on_heard=on_heard) as exchange:
            yield _PlacedExchange(exchange, Placement(only.name, reason="only backend"))


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
