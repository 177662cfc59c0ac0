"""The HTTP server of one of several workers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import uvicorn

from edge_client.realtime.drain import Drain
from edge_client.realtime.entrance import Entrances
from edge_client.realtime.idle_connections import close_idle_connections


class WorkerServer(uvicorn.Server):
    """One that says when it has started, and that takes callers later than the other workers."""

    def __init__(self, config: uvicorn.Config, *, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    def new_protocol(self) -> asyncio.Protocol:
        """As for the sockets that uvicorn listens on itself."""
        new_protocol: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return new_protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    async def welcome(self, go: asyncio.Event, listening: socket.socket, entrances: Entrances) -> None:
        """Take callers from ``go`` on, until the server ends."""
        await go.wait()
        loop = asyncio.get_running_loop()
        self.servers.append(await loop.create_server(entrances, sock=listening, backlog=self.config.backlog))

    async def stop_after(self, drain: Drain) -> None:
        """End when nobody is left to serve after a drain."""
        await drain.begun()
        close_idle_connections(self)
        await drain.over()
        self.stop()

    def stop(self) -> None:
        self.should_exit = True
