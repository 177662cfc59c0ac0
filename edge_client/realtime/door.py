"""Where a worker takes its connections from: a listening socket that it shares with the other workers."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Door:
    """Takes one connection at a time, while it is open.

    The system keeps one queue for all workers, and wakes all that look at it. Taking only one each time they look
    leaves the next to whoever is quicker, and that is the one with less to do. ``listening`` must not block.
    """

    def __init__(self, listening: socket.socket, new_protocol: Callable[[], asyncio.BaseProtocol]) -> None:
        self._listening = listening
        self._new_protocol = new_protocol
        self._loop = asyncio.get_running_loop()
        self._open = False
        self._entering: set[asyncio.Task[object]] = set()

    def set_open(self, wanted: bool) -> None:
        """Take connections from now on, or leave them to others."""
        if wanted == self._open:
            return
        self._open = wanted
        if wanted:
            self._loop.add_reader(self._listening, self._take)
        else:
            self._loop.remove_reader(self._listening)

    def _take(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another worker was quicker, or the caller has gone
        except OSError as error:
            logger.error("no connection can be taken: %s", error)
            self.set_open(False)  # until the next look: otherwise this would come a thousand times a second
            return
        connection.setblocking(False)
        entering = self._loop.create_task(self._enter(connection))
        self._entering.add(entering)
        entering.add_done_callback(self._entering.discard)

    async def _enter(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._new_protocol, connection)
        except OSError as error:
            connection.close()
            logger.info("a connection broke as it came: %s", error)
