"""What stands before several edges: each new connection goes to one that is ready, as a Kubernetes Service has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.edge import RunningEdge, running_edge
from tests.scripted import ScriptedBackend, say

ANSWER_SEC = 2.0
LOOK_SEC = 0.1
PATIENCE = 20  # looks, until whoever asks is sent away


class Front:
    """An address for all of the ``edges``, which may change. Connections stay where they are."""

    def __init__(self, edges: Iterable[str]) -> None:
        self.edges = list(edges)
        self.url = ""
        self._turn = 0
        self._joined: set[asyncio.Task[None]] = set()

    async def ready(self) -> str | None:
        """The next edge in turn that takes callers."""
        for _ in self.edges:
            self._turn += 1
            edge = self.edges[self._turn % len(self.edges)]
            if await _is_ready(edge):
                return edge
        return None

    async def _patiently(self) -> str | None:
        """One as soon as there is one."""
        for _ in range(PATIENCE):
            if edge := await self.ready():
                return edge
            await asyncio.sleep(LOOK_SEC)
        return None

    def joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._join(reader, writer))
        self._joined.add(task)
        task.add_done_callback(self._joined.discard)

    async def close(self) -> None:
        """Cut all connections."""
        for task in self._joined:
            task.cancel()
        await asyncio.gather(*self._joined, return_exceptions=True)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        try:
            edge = await self._patiently()
            if edge is not None:
                async with _connected(edge) as (answers, asking):
                    await asyncio.gather(_pump(reader, asking), _pump(answers, writer))
        except OSError:
            pass  # an edge that has just ended
        finally:
            writer.close()


async def _is_ready(edge: str) -> bool:
    host = urlsplit(edge).netloc
    try:
        async with asyncio.timeout(ANSWER_SEC), _connected(edge) as (reader, writer):
            writer.write(f"GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return b" 200 " in await reader.readline()
    except (OSError, TimeoutError):
        return False


@asynccontextmanager
async def _connected(edge: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(urlsplit(edge).hostname, urlsplit(edge).port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # one end has gone
    finally:
        writer.close()


@asynccontextmanager
async def front(*edges: str) -> AsyncIterator[Front]:
    standing = Front(edges)
    server = await asyncio.start_server(standing.joined, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    standing.url = f"http://{host}:{port}"
    try:
        yield standing
    finally:
        server.close()
        await standing.close()


# -- two edges behind it -----------------------------------------------------------------------------------------------

SHARED_KEY = b"of edges that believe each other"


class House(NamedTuple):
    """Two edges behind one address. The old one takes all callers until it drains."""

    front: Front
    old: RunningEdge
    new: RunningEdge
    answers: ScriptedBackend  # what the new one is asked

    def drain(self, seconds: float = 20.0) -> None:
        self.front.edges = [self.new.url]
        self.old.edge.drain.begin(seconds)


@asynccontextmanager
async def house(*, answers: ScriptedBackend | None = None, **settings: Any) -> AsyncIterator[House]:
    answers = answers or ScriptedBackend(say("second", heard="and you"))
    async with (
        running_edge(ScriptedBackend(say("first", heard="hello there")), **settings) as old,
        running_edge(answers, **settings) as new,
        front(old.url) as standing,
    ):
        for edge in (old, new):
            edge.edge.keys.renew(signing_keys=[SHARED_KEY])
        yield House(standing, old, new, answers)
