"""One connection to a server: events go out and come back, until either side has had enough."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, WebSocketException

from edge_client.connecting import Connecting
from edge_client.straight import connect_straight
from edge_client.upstream.client_events import Json
from edge_client.upstream.faults import broken, from_closing, from_connecting
from edge_client.upstream.inbox import Inbox
from routing.errors import BackendUnavailable

CHARACTERS_PER_SEC = 64_000  # of 16-bit sound at 24 kHz in base64
SPECULATIVE_CHARACTERS = 5 * CHARACTERS_PER_SEC  # read ahead of a reply that nobody may want
COMMITTED_CHARACTERS = 120 * CHARACTERS_PER_SEC  # longer than what is said in one breath, for servers do not wait
MAXIMUM_MESSAGE_BYTES = 4 * 1024 * 1024  # a minute of sound
CLOSE_TIMEOUT_SEC = 1.0

# The library's own would write down every header and every word, if somebody asked for details.
_quiet = logging.getLogger(f"{__name__}.websocket")
_quiet.setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a server is and how it wants to be called."""

    address: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    trust: ssl.SSLContext | None  # None where the address is not encrypted
    connect_timeout_sec: float

    def call(self, headers: Mapping[str, str]) -> connect_straight:
        """A connection that is still to be made.

        It sends no pings: their answers would wait behind the sound that is not read yet, and look like a dead line.
        """
        return connect_straight(
            self.address,
            additional_headers={**self.headers, **headers},
            ssl=self.trust,
            open_timeout=self.connect_timeout_sec,
            close_timeout=CLOSE_TIMEOUT_SEC,
            compression=None,
            ping_interval=None,
            max_size=MAXIMUM_MESSAGE_BYTES,
            logger=_quiet,
        )


class Line:
    """Connects as soon as it is made, and lives in ``tasks`` until `hang_up`, `drop`, or the server's end of it.

    What is sent before it is connected waits; it is up to whoever sends how much that is.
    """

    def __init__(
        self, server: Server, *, headers: Mapping[str, str], opening: Iterable[Json], tasks: asyncio.TaskGroup
    ) -> None:
        self._outbox: asyncio.Queue[str] = asyncio.Queue()
        self._inbox = Inbox(SPECULATIVE_CHARACTERS)
        self._over = asyncio.Event()
        self.connecting = Connecting()
        for event in opening:
            self.send(event)
        self._task = tasks.create_task(self._run(server.call(headers)))

    def send(self, event: Json) -> None:
        """Send an event behind the others."""
        self._outbox.put_nowait(json.dumps(event))

    async def receive(self) -> Json:
        """The next event of the server.

        Raises:
            BackendError: there is no connection, or no more; or what came is no event.
        """
        message = await self._inbox.get()
        try:
            event = json.loads(message)
        except (ValueError, RecursionError):
            raise broken("a JSON object", "text that is not JSON") from None
        if not isinstance(event, dict):
            raise broken("a JSON object", type(event).__name__)
        return event

    def commit(self) -> None:
        """What comes will be wanted: read all of it, so that the server is not kept waiting."""
        self._inbox.widen(COMMITTED_CHARACTERS)

    def hang_up(self) -> None:
        """All was said; take leave of the server."""
        self._over.set()

    @property
    def is_over(self) -> bool:
        """Whether one side has hung up."""
        return self._over.is_set()

    def drop(self) -> None:
        """Be gone at once: the server stops what it was doing for us."""
        self._task.cancel()

    # -- the connection ------------------------------------------------------------------------------------------------

    async def _run(self, call: connect_straight) -> None:
        try:
            connection = await call
            self.connecting.done()
            await self._converse(connection)
        except (OSError, WebSocketException, EOFError) as error:
            fault = from_connecting(error)
            self.connecting.fail(fault)
            self._inbox.end(fault)
        finally:
            self._inbox.end(BackendUnavailable("the connection to the server is closed"))

    async def _converse(self, connection: ClientConnection) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                both = [tasks.create_task(self._send(connection)), tasks.create_task(self._receive(connection))]
                await self._over.wait()
                for task in both:
                    task.cancel()
            await connection.close()
        finally:
            connection.transport.abort()  # where the line is dropped: taking leave takes as long as the server likes

    async def _send(self, connection: ClientConnection) -> None:
        try:
            while True:
                await connection.send(await self._outbox.get())
        except ConnectionClosed:
            return  # the receiving side notices too

    async def _receive(self, connection: ClientConnection) -> None:
        try:
            while True:
                await self._inbox.put(await connection.recv(decode=True))
        except ConnectionClosed:
            self._inbox.end(from_closing(connection.close_code))
            self._over.set()
