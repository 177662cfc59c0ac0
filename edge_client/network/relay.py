"""A bad way for TCP, inside this process: connections that are slowed, stalled or cut while they are in use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

PIECE_BYTES = 64 * 1024
PIECES_ON_THE_WAY = 256  # in one direction of one connection; when full, the sender is not read


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Relay:
    """Between a port of this machine and another address. Made by `open_relay`.

    While there is no ``target``, and after `cut`, whoever connects is turned away at once.
    """

    def __init__(self, target: Address | None) -> None:
        self.target = target
        self.there_sec = 0.0  # how long everything takes on its way to the target
        self.back_sec = 0.0
        self._lets_through = asyncio.Event()
        self._lets_through.set()
        self._is_cut = False
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        return len(self._connections)

    def slow(self, *, there_sec: float = 0.0, back_sec: float = 0.0) -> None:
        """Let everything that sets out from now on take so long on its way; nothing overtakes."""
        self.there_sec, self.back_sec = there_sec, back_sec

    def swallow(self) -> None:
        """Become a black hole: connections stay open, and nothing arrives until `restore`."""
        self._lets_through.clear()

    def cut(self) -> None:
        """Break all connections, and take no more until `restore`."""
        self._is_cut = True
        for connection in self._connections:
            connection.cancel()

    def restore(self) -> None:
        """Be a good way again."""
        self.slow()
        self._is_cut = False
        self._lets_through.set()

    async def serve(self, near: asyncio.StreamReader, near_writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side ends it."""
        connection = asyncio.current_task()
        assert connection
        self._connections.add(connection)
        try:
            await self._carry(near, near_writer)
        except asyncio.CancelledError:
            pass  # it was cut
        finally:
            self._connections.discard(connection)
            near_writer.transport.abort()

    async def _carry(self, near: asyncio.StreamReader, near_writer: asyncio.StreamWriter) -> None:
        if self._is_cut or self.target is None:
            return
        try:
            far, far_writer = await asyncio.open_connection(self.target.host, self.target.port)
        except OSError:
            return
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._move(near, far_writer, lambda: self.there_sec))
                ways.create_task(self._move(far, near_writer, lambda: self.back_sec))
        except* OSError:
            pass  # one side has broken off: so does the other
        finally:
            far_writer.transport.abort()

    async def _move(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, delay_sec: Callable[[], float]
    ) -> None:
        """Carry one direction to its end."""
        pieces = asyncio.Queue[_Piece](PIECES_ON_THE_WAY)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_collect(source, pieces, delay_sec))
            tasks.create_task(self._deliver(pieces, target))

    async def _deliver(self, pieces: asyncio.Queue[_Piece], target: asyncio.StreamWriter) -> None:
        now = asyncio.get_running_loop().time
        while True:
            piece = await pieces.get()
            await asyncio.sleep(piece.due - now())
            await self._lets_through.wait()
            if not piece.data:
                break
            target.write(piece.data)
            await target.drain()
        target.write_eof()

    async def close(self) -> None:
        """Break all connections, and wait until they are gone."""
        self.cut()
        await asyncio.gather(*self._connections)


class _Piece(NamedTuple):
    due: float
    data: bytes  # none at the end


async def _collect(source: asyncio.StreamReader, pieces: asyncio.Queue[_Piece], delay_sec: Callable[[], float]) -> None:
    now, last_due = asyncio.get_running_loop().time, 0.0
    data = b"-"
    while data:
        data = await source.read(PIECE_BYTES)
        last_due = max(last_due, now() + delay_sec())
        await pieces.put(_Piece(last_due, data))


class OpenRelay(NamedTuple):
    """A relay, and the address where it takes connections."""

    relay: Relay
    address: Address


@asynccontextmanager
async def open_relay(target: Address | None = None) -> AsyncIterator[OpenRelay]:
    """A relay on a free port of loopback, until the block ends."""
    relay = Relay(target)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        yield OpenRelay(relay, Address(host, port))
    finally:
        server.close()
        await relay.close()
