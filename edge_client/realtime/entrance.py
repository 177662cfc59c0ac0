"""Where connections come in: one that asks for a session goes on to the worker that has most places for it.

A session over WebSocket lives in the worker that has its connection. So it is the connection that moves, before
anything was answered: its descriptor, and the head of the request that was read from it. Only the first request of a
connection is looked at: one that asks for a session after others, as a proxy may, stays where it came.
"""

from __future__ import annotations

import array
import asyncio
import logging
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import cast

from edge_client.workers.crew import Crew

logger = logging.getLogger(__name__)

MAXIMUM_HEAD_BYTES = 16 * 1024  # a longer one is not understood here, and its connection does not move
_PATH = b"GET /v1/realtime"
_SESSION = re.compile(_PATH + rb"[? ]")

type Protocols = Callable[[], asyncio.Protocol]


class Entrance(asyncio.Protocol):
    """Reads the head of a connection's first request for ``server``, which gets all else.

    ``moved`` takes the connection's descriptor and what was read, and says whether it is another worker's now.
    """

    def __init__(self, server: asyncio.Protocol, moved: Callable[[int, bytes], bool]) -> None:
        self._server = server
        self._moved = moved
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._head += data
        if _may_ask_for_a_session(self._head) and not _complete(self._head):
            return
        if self._asks_for_a_session and self._moved(self._transport.get_extra_info("socket").fileno(), self._head):
            self._transport.abort()  # this end of it: the connection lives on in the other worker
            return
        self._transport.set_protocol(self._server)
        self._server.data_received(self._head)

    @property
    def _asks_for_a_session(self) -> bool:
        return len(self._head) <= MAXIMUM_HEAD_BYTES and bool(_SESSION.match(self._head))

    def connection_lost(self, error: Exception | None) -> None:
        self._server.connection_lost(error)


def _may_ask_for_a_session(head: bytes) -> bool:
    return bool(_SESSION.match(head)) or _PATH.startswith(head)


def _complete(head: bytes) -> bool:
    return b"\r\n\r\n" in head or len(head) > MAXIMUM_HEAD_BYTES


class Entrances:
    """Makes entrances, and takes the connections that other workers send to ``arrivals``. `close` ends the latter."""

    def __init__(self, folder: Path, crew: Crew, new_protocol: Protocols, arrivals: socket.socket) -> None:
        self._folder = folder
        self._crew = crew
        self._new_protocol = new_protocol
        self._loop = asyncio.get_running_loop()
        self._socket = arrivals
        self._loop.add_reader(self._socket, self._receive)
        self._entering: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        self._loop.remove_reader(self._socket)

    def __call__(self) -> asyncio.Protocol:
        return Entrance(self._new_protocol(), self._left)

    def _left(self, connection: int, head: bytes) -> bool:
        """Whether a connection that came here is another worker's now."""
        left = self._moved(connection, head)
        if not left:
            self._crew.promise(self._crew.number)
        return left

    def _moved(self, connection: int, head: bytes, full: bytes = b"") -> bool:
        """Whether a connection was sent to another worker. ``full`` are the numbers of those that could not take it."""
        own = self._crew.number
        full += bytes([own]) if self._crew.full else b""
        taker = self._crew.taker(known_full=full)
        moved = taker != own and self._send(taker, connection, head, full)
        if moved:
            self._crew.promise(taker)
        return moved

    def _send(self, worker: int, connection: int, head: bytes, full: bytes) -> bool:
        message = bytes([len(full)]) + full + head
        try:
            self._socket.sendmsg([message], [_carrying(connection)], 0, str(_path(self._folder, worker)))
        except OSError as error:  # it has died, or has too many in front of it
            logger.info("worker %d takes no connection: %s", worker, error)
            return False
        return True

    def _receive(self) -> None:
        message, descriptors, _, _ = socket.recv_fds(self._socket, 2 * MAXIMUM_HEAD_BYTES, 1)
        full, head = message[1 : 1 + message[0]], message[1 + message[0] :]
        for descriptor in descriptors:
            self._arrived(socket.socket(fileno=descriptor), head, full)

    def _arrived(self, connection: socket.socket, head: bytes, full: bytes) -> None:
        """Once moved, a connection stays wherever there is a place."""
        if self._crew.full and self._moved(connection.fileno(), head, full):
            connection.close()
            return
        self._crew.promise(self._crew.number)
        connection.setblocking(False)
        task = self._loop.create_task(self._enter(connection, head))
        self._entering.add(task)
        task.add_done_callback(self._entering.discard)

    async def _enter(self, connection: socket.socket, head: bytes) -> None:
        try:
            _, protocol = await self._loop.connect_accepted_socket(self._new_protocol, connection)
        except OSError as error:
            connection.close()
            logger.info("a connection broke on its way: %s", error)
        else:
            protocol.data_received(head)


def _carrying(descriptor: int) -> tuple[int, int, bytes]:
    """As `socket.send_fds` does it, which forgets the address."""
    return socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]).tobytes()


def arrivals_socket(folder: Path, worker: int) -> socket.socket:
    """Where connections are sent to this worker; one that died may have left its own behind."""
    path = _path(folder, worker)
    path.unlink(missing_ok=True)
    arrivals = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    arrivals.setblocking(False)
    arrivals.bind(str(path))
    return arrivals


def _path(folder: Path, worker: int) -> Path:
    return folder / f"worker-{worker}.in"
