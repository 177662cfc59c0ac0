"""What stands before several edges: each new connection goes to one that is ready, as a Kubernetes Service has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import httpx


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
            with suppress(httpx.HTTPError):
                async with httpx.AsyncClient(trust_env=False, verify=False) as client:
                    if (await client.get(f"{edge}/readyz")).status_code == 200:
                        return edge
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
            edge = await self.ready()
            if edge is not None:
                there = await asyncio.open_connection(urlsplit(edge).hostname, urlsplit(edge).port)
                await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))
        except OSError:
            pass  # an edge that has just ended
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
