"""The private way from one worker to the others: HTTP over Unix sockets in a folder that only they may enter."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from routing.errors import BackendUnavailable

FORWARDED = "Antiphon-Forwarded"  # header: a worker has passed this request on, so the next one must answer it
ADDRESS = "Antiphon-Address"  # header: whom the request came from that a worker has passed on
TIMEOUT = httpx.Timeout(15.0, connect=1.0)  # an answer takes milliseconds; seconds, where a relay is asked for a port
LIMITS = httpx.Limits(max_keepalive_connections=0)  # connecting is cheap, and none is found closed

type Headers = Iterable[tuple[bytes, bytes]]


class Siblings:
    """Asks other workers. An async context manager, which holds the connections."""

    def __init__(self, folder: Path, *, own: int, workers: int) -> None:
        self.folder = folder  # of this edge's workers, and nobody else's
        self._clients = {number: _client(folder, number) for number in range(workers) if number != own}
        self._open = AsyncExitStack()

    def numbers(self) -> frozenset[int]:
        return frozenset(self._clients)

    async def ask(
        self, worker: int, method: str, target: bytes, *, headers: Headers = (), body: bytes = b""
    ) -> httpx.Response:
        """What another worker answers; ``target`` is the path with its query.

        Raises:
            BackendUnavailable: it is not there, or does not answer.
        """
        url = httpx.URL("http://localhost").copy_with(raw_path=target)
        marked = [*headers, (FORWARDED.encode(), b"1")]
        try:
            return await self._clients[worker].request(method, url, headers=marked, content=body)
        except httpx.ConnectError as error:
            raise WorkerGone(f"worker {worker} is not there: {error}") from error
        except httpx.HTTPError as error:
            raise BackendUnavailable(f"worker {worker} does not answer: {error!r}") from error

    async def __aenter__(self) -> Self:
        for client in self._clients.values():
            await self._open.enter_async_context(client)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()


class WorkerGone(BackendUnavailable):
    """The worker was not reached at all: nothing was begun there."""


def private_socket(folder: Path, number: int) -> socket.socket:
    """Where a worker hears the others; one that died may have left its own behind."""
    path = _path(folder, number)
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    return listening


def _client(folder: Path, number: int) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(uds=str(_path(folder, number)), limits=LIMITS)
    return httpx.AsyncClient(transport=transport, timeout=TIMEOUT, trust_env=False)


def _path(folder: Path, number: int) -> Path:
    return folder / f"worker-{number}.sock"
