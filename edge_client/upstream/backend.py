"""A backend that is a server of the OpenAI Realtime protocol: another edge, a model's own server, or a vendor's."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from edge_client.upstream.exchange import UpstreamExchange
from edge_client.upstream.line import Server
from edge_client.upstream.settings import UpstreamSettings
from routing.errors import SettingsError
from routing.own_tasks import own_tasks
from routing.turns import Heard, Turn


class UpstreamBackend:
    """Answers each turn over a connection of its own, made while the user speaks; see `routing.turns.Backend`.

    The server is told where turns end. It gets the whole history with each turn, so nothing of a session lives there.

    Raises:
        SettingsError: there is no ``url`` in ``settings``.
    """

    def __init__(self, settings: UpstreamSettings, *, name: str = "realtime") -> None:
        if not settings.url:
            raise SettingsError("expected the url of a server, got none")
        self.name = name
        self._voice = settings.voice
        self._server = server_of(settings)

    @asynccontextmanager
    async def open(self, turn: Turn, *, on_heard: Callable[[Heard], None]) -> AsyncIterator[UpstreamExchange]:
        """Leaving closes the connection, which stops the server's work; see `routing.turns.Backend`."""
        async with own_tasks() as tasks:
            exchange = UpstreamExchange(turn, server=self._server, voice=self._voice, tasks=tasks, on_heard=on_heard)
            try:
                yield exchange
            finally:
                exchange.close()


def server_of(settings: UpstreamSettings) -> Server:
    """How the server of ``settings`` is called. Blocks: certificates are read, once, and not when somebody speaks."""
    key = settings.key.get_secret_value()
    return Server(
        address=settings.address,
        headers={"Authorization": f"Bearer {key}"} if key else {},
        trust=ssl.create_default_context() if settings.address.startswith("wss:") else None,
        connect_timeout_sec=settings.connect_timeout_sec,
    )
