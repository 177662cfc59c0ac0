"""The cloud as a backend: one WebSocket for each turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from edge_client.cloud.connection import Line
from edge_client.cloud.exchange import CloudExchange
from edge_client.cloud.settings import CloudSettings
from routing.own_tasks import own_tasks
from routing.turns import Heard, Turn


class CloudBackend:
    """Answers turns far away; see `routing.turns.Backend`.

    Raises:
        SettingsError: the settings name no cloud.
    """

    def __init__(self, settings: CloudSettings, *, name: str = "cloud") -> None:
        self.name = name
        self._line = Line(settings)

    @asynccontextmanager
    async def open(self, turn: Turn, *, on_heard: Callable[[Heard], None]) -> AsyncIterator[CloudExchange]:
        """Connecting goes on while chunks are fed. Leaving hangs up, which stops the work for the turn at once."""
        exchange = CloudExchange(turn, on_heard=on_heard)
        async with own_tasks() as tasks:
            carrying = tasks.create_task(exchange.carry(self._line))
            try:
                yield exchange
            finally:
                carrying.cancel()
