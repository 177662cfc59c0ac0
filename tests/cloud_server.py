"""A cloud in one process: any backend behind real WebSockets, with the faults of networks and of clouds on demand.

::

    async with cloud_server(ScriptedBackend()) as cloud:
        backend = CloudBackend(CloudSettings(url=cloud.url))
        cloud.faults.delay_sec = 0.4  # from now on
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from ssl import SSLContext

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from routing.errors import BackendError
from routing.load import Load
from routing.refusal import refusal
from routing.turns import AudioChunk, Backend, Exchange, Heard, Turn
from routing.wire import (
    Ask,
    Commit,
    Conduct,
    Message,
    Open,
    Ping,
    Pong,
    Refused,
    RollBack,
    Speech,
    Told,
    Welcome,
    WireError,
    decode,
    encode,
)

TURNS_PATH, HEARTBEAT_PATH = "/v1/turns", "/v1/heartbeat"
REPLICA = "tests#1"


@dataclass(slots=True)
class Faults:
    """What goes wrong. May be changed at any time; each is looked at when it matters.

    Args:
        delay_sec: that everything the cloud says is late
        refuse_http: status of an answer in HTTP, in place of a WebSocket
        retry_after: header that goes with it; several where bars are between
        location: likewise, where somebody is sent elsewhere
        refuse: sent in place of `Welcome`, before the connection is closed
        refuse_attempts: sent in place of a reply, with this attempt's number
        stall_after_audio: chunks of sound in a reply before nothing more comes, ever
        cut_after_audio: chunks of sound in a reply before the connection is cut without a word
        garbage: sent in place of a reply's first event
        is_deaf: nothing is answered, not even the opening handshake
    """

    delay_sec: float = 0.0
    refuse_http: int | None = None
    retry_after: str | None = None
    location: str | None = None
    refuse: Refused | None = None
    refuse_attempts: Refused | None = None
    stall_after_audio: int | None = None
    cut_after_audio: int | None = None
    garbage: bytes | str | None = None
    is_deaf: bool = False


@dataclass(slots=True)
class CloudServer:
    """What a test sees of the cloud."""

    backend: Backend
    faults: Faults = field(default_factory=Faults)
    load: Load = field(default_factory=lambda: Load(slots=4, in_use=1))
    url: str = ""
    requests: list[Request] = field(default_factory=list)  # every opening handshake
    received: list[Message] = field(default_factory=list)  # in the order they came, of all turns
    open_turns: int = 0
    ended_turns: int = 0
    objections: list[WireError] = field(default_factory=list)  # to what the edge sent
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    connections: set[ServerConnection] = field(default_factory=set)

    async def until_turns_ended(self, count: int) -> None:
        """Wait until so many turns were left by the edge, and all that was done for them has stopped."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.ended_turns >= count)

    async def until_received(self, kind: type[Message], count: int = 1) -> None:
        """Wait until so many messages of a kind have come."""
        async with self.changed:
            await self.changed.wait_for(lambda: sum(isinstance(it, kind) for it in self.received) >= count)

    def cut(self) -> None:
        """Break every connection there is, without a word."""
        for connection in list(self.connections):
            connection.transport.abort()


@asynccontextmanager
async def cloud_server(
    backend: Backend, *, faults: Faults | None = None, port: int = 0, ssl: SSLContext | None = None
) -> AsyncIterator[CloudServer]:
    """Serve until left. Leaving breaks what is still connected."""
    cloud = CloudServer(backend, faults or Faults())

    async def entrance(connection: ServerConnection, request: Request) -> Response | None:
        cloud.requests.append(request)
        if cloud.faults.is_deaf:
            cloud.connections.add(connection)
            await connection.wait_closed()
        return http_refusal(connection, cloud.faults)

    async def attend(connection: ServerConnection) -> None:
        await Attendant(cloud, connection).run()

    server = await serve(
        attend,
        "127.0.0.1",
        port,
        process_request=entrance,
        compression=None,
        ping_interval=None,
        close_timeout=0.1,
        open_timeout=None,
        ssl=ssl,
    )
    cloud.url = address(server, is_secure=ssl is not None)
    try:
        yield cloud
    finally:
        cloud.cut()
        server.close()
        await server.wait_closed()


def address(server: Server, *, is_secure: bool) -> str:
    port = next(iter(server.sockets)).getsockname()[1]
    return f"wss://localhost:{port}" if is_secure else f"ws://127.0.0.1:{port}"


def http_refusal(connection: ServerConnection, faults: Faults) -> Response | None:
    if faults.refuse_http is None:
        return None
    response = connection.respond(HTTPStatus(faults.refuse_http), "refused\n")
    if faults.location:
        response.headers["Location"] = faults.location
    for value in [] if faults.retry_after is None else faults.retry_after.split("|"):
        response.headers["Retry-After"] = value  # another one beside those that are there
    return response


class Attendant:
    """Serves one connection."""

    def __init__(self, cloud: CloudServer, connection: ServerConnection) -> None:
        self._cloud = cloud
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._outbox: asyncio.Queue[tuple[float, bytes | str]] = asyncio.Queue()
        self._conduct = Conduct()
        self._replying: asyncio.Task[None] | None = None

    async def run(self) -> None:
        self._cloud.connections.add(self._connection)
        try:
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self._send())
                await self._serve(tasks)
                sending.cancel()
        except* ConnectionClosed:
            pass
        finally:
            self._cloud.connections.discard(self._connection)

    async def _serve(self, tasks: asyncio.TaskGroup) -> None:
        assert self._connection.request is not None
        if self._connection.request.path == HEARTBEAT_PATH:
            await self._answer_pings()
        else:
            await self._attend_turn(tasks)

    # -- what is said, late -----------------------------------------------------------------------------------------

    def _say(self, message: Message) -> None:
        self._say_raw(encode(message))

    def _say_raw(self, data: bytes | str) -> None:
        self._outbox.put_nowait((self._loop.time() + self._cloud.faults.delay_sec, data))

    async def _send(self) -> None:
        while True:
            due, data = await self._outbox.get()
            await asyncio.sleep(due - self._loop.time())
            await self._connection.send(data)
            self._outbox.task_done()

    async def _receive(self) -> AsyncIterator[Message]:
        async for data in self._connection:
            if self._cloud.faults.is_deaf:
                continue
            message = decode(data)
            self._cloud.received.append(message)
            await self._tell_of_change()
            yield message

    async def _tell_of_change(self) -> None:
        async with self._cloud.changed:
            self._cloud.changed.notify_all()

    # -- heartbeats -------------------------------------------------------------------------------------------------

    async def _answer_pings(self) -> None:
        async for message in self._receive():
            assert isinstance(message, Ping)
            self._answer(message)

    def _answer(self, ping: Ping) -> None:
        if self._cloud.faults.garbage is not None:
            self._say_raw(self._cloud.faults.garbage)
        else:
            self._say(Pong(ping.number, self._cloud.load))

    # -- a turn -----------------------------------------------------------------------------------------------------

    async def _attend_turn(self, tasks: asyncio.TaskGroup) -> None:
        try:
            async for message in self._receive():
                self._conduct.feed(message)
                if isinstance(message, Open):
                    await self._attend(message.turn, tasks)
        except WireError as objection:
            self._cloud.objections.append(objection)
            await self._refuse(Refused(0, objection.code, str(objection)))

    async def _attend(self, turn: Turn, tasks: asyncio.TaskGroup) -> None:
        if self._cloud.faults.refuse is not None:
            await self._refuse(self._cloud.faults.refuse)
            return
        self._say(Welcome(REPLICA))
        self._cloud.open_turns += 1
        try:
            async with self._cloud.backend.open(turn, on_heard=self._tell_heard) as exchange:
                try:
                    async for message in self._receive():
                        self._conduct.feed(message)
                        await self._take(message, exchange, tasks)
                finally:
                    await self._stop_replying()
        finally:
            self._cloud.open_turns -= 1
            self._cloud.ended_turns += 1
            await self._tell_of_change()

    async def _refuse(self, refused: Refused) -> None:
        self._say(refused)
        await self._outbox.join()
        await self._connection.close()

    def _tell_heard(self, heard: Heard) -> None:
        self._say(Told(0, heard))

    async def _take(self, message: Message, exchange: Exchange, tasks: asyncio.TaskGroup) -> None:
        match message:
            case Speech(chunk):
                exchange.feed(chunk)
            case Ask(attempt):
                self._replying = tasks.create_task(self._reply(exchange, attempt))
            case RollBack():
                await self._stop_replying()
            case Commit():
                exchange.commit()
            case Ping():
                self._answer(message)

    async def _stop_replying(self) -> None:
        if self._replying is not None:
            self._replying.cancel()
            await asyncio.wait([self._replying])
            self._replying = None

    async def _reply(self, exchange: Exchange, attempt: int) -> None:
        try:
            if self._cloud.faults.garbage is not None:
                self._say_raw(self._cloud.faults.garbage)
            elif (refused := self._cloud.faults.refuse_attempts) is not None:
                self._say(Refused(attempt, refused.code, refused.message, refused.retry_after_sec))
            else:
                await self._tell(exchange, attempt)
        except BackendError as error:
            self._say(refusal(attempt, error))

    async def _tell(self, exchange: Exchange, attempt: int) -> None:
        chunks = 0
        async with aclosing(exchange.reply()) as events:
            async for event in events:
                if isinstance(event, AudioChunk):
                    await self._meet_fate(chunks)
                    chunks += 1
                self._say(Told(attempt, event))
                await asyncio.sleep(0)

    async def _meet_fate(self, chunks: int) -> None:
        """Before the next chunk of sound, when so many have been told."""
        if chunks == self._cloud.faults.stall_after_audio:
            await asyncio.Event().wait()
        if chunks == self._cloud.faults.cut_after_audio:
            await self._outbox.join()
            self._connection.transport.abort()
