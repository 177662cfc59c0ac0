"""Connections on which nothing comes are ended; those of honest clients are left alone."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from websockets.asyncio.client import connect

from edge_client.caller.edge_process import edge_process
from edge_client.realtime.addresses import Proxies
from edge_client.realtime.doorkeeper import MAXIMUM_HEAD_BYTES, Doorway
from tests.certificates import certificate_pair
from tests.edge import PromptServer

pytestmark = pytest.mark.slow  # heads are waited for in real time

HEAD_SEC = 0.1
ASKED = b"GET / HTTP/1.1\r\nhost: edge\r\n\r\n"

type Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await receive()
        await send({"type": "websocket.send", "text": (await receive())["text"]})
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture(params=[H11Protocol, HttpToolsProtocol], ids=["h11", "httptools"])
def protocol(request: pytest.FixtureRequest) -> Callable[..., asyncio.Protocol]:
    made: Callable[..., asyncio.Protocol] = request.param
    return made


@asynccontextmanager
async def serving(protocol: Callable[..., asyncio.Protocol], doorway: Doorway) -> AsyncIterator[int]:
    """The port of a server behind this doorway."""
    http = cast(Any, doorway.watched(protocol))
    config = uvicorn.Config(hello, http=http, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    config.load()
    server = PromptServer(config)
    server.lifespan = config.lifespan_class(config)
    loop = asyncio.get_running_loop()

    def new_protocol() -> asyncio.Protocol:
        return config.http_protocol_class(config=config, server_state=server.server_state, app_state={})  # type: ignore[call-arg]

    async with await loop.create_server(new_protocol, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1]


@asynccontextmanager
async def dialled(port: int) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def to_the_end(reader: asyncio.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(15):
            return await reader.read()
    except ConnectionResetError:
        return b""


async def answer(connection: Connection, asked: bytes = ASKED) -> bytes:
    reader, writer = connection
    writer.write(asked)
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(5)
    return head.splitlines()[0]


async def test_a_head_that_does_not_come_to_an_end_is_not_waited_for(protocol: Callable[..., asyncio.Protocol]) -> None:
    async with serving(protocol, Doorway(head_sec=HEAD_SEC, most_silent=0)) as port, dialled(port) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nx: y")
        assert (await to_the_end(reader)).startswith(b"HTTP/1.1 408 ")


async def test_a_connection_on_which_nothing_is_asked_is_closed(protocol: Callable[..., asyncio.Protocol]) -> None:
    async with serving(protocol, Doorway(head_sec=HEAD_SEC, most_silent=0)) as port, dialled(port) as (reader, _):
        assert await to_the_end(reader) == b""


async def test_the_second_head_is_timed_like_the_first(protocol: Callable[..., asyncio.Protocol]) -> None:
    async with serving(protocol, Doorway(head_sec=HEAD_SEC, most_silent=0)) as port, dialled(port) as connection:
        assert b" 200 " in await answer(connection)
        assert b" 200 " in await answer(connection)
        connection[1].write(b"GET / HT")
        assert (await to_the_end(connection[0])).startswith(b"HTTP/1.1 408 ")


async def test_who_has_asked_may_take_its_time(protocol: Callable[..., asyncio.Protocol]) -> None:
    async with serving(protocol, Doorway(head_sec=HEAD_SEC, most_silent=0)) as port, dialled(port) as connection:
        assert b" 200 " in await answer(connection)
        await asyncio.sleep(2 * HEAD_SEC)  # between two requests the timer of uvicorn counts
        connection[1].write(b"POST / HTTP/1.1\r\nhost: edge\r\ncontent-length: 4\r\n\r\nab")
        await asyncio.sleep(2 * HEAD_SEC)  # likewise in a body
        assert b" 200 " in await answer(connection, b"cd")


async def test_a_websocket_is_no_head(protocol: Callable[..., asyncio.Protocol]) -> None:
    async with (
        serving(protocol, Doorway(head_sec=HEAD_SEC, most_silent=1)) as port,
        connect(f"ws://127.0.0.1:{port}/", proxy=None) as socket,
    ):
        await asyncio.sleep(2 * HEAD_SEC)
        await socket.send("still there")
        assert await socket.recv() == "still there"
        async with dialled(port) as connection:
            assert b" 200 " in await answer(connection)


async def test_a_head_without_end_is_not_kept(protocol: Callable[..., asyncio.Protocol]) -> None:
    async with serving(protocol, Doorway(head_sec=60.0, most_silent=0)) as port, dialled(port) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n" + b"x: yyyyyyyyyyyy\r\n" * (MAXIMUM_HEAD_BYTES // 10))
        said = await to_the_end(reader)
        assert said.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 ")) or said == b""  # h11 says so by itself


async def test_an_address_has_few_silent_connections_and_keeps_those_that_ask(
    protocol: Callable[..., asyncio.Protocol],
) -> None:
    async with serving(protocol, Doorway(head_sec=60.0, most_silent=2)) as port, AsyncExitStack() as stack:
        busy = [await stack.enter_async_context(dialled(port)) for _ in range(2)]
        for connection in busy:
            assert b" 200 " in await answer(connection)
        silent = [await stack.enter_async_context(dialled(port)) for _ in range(2)]
        reader, _ = await stack.enter_async_context(dialled(port))
        assert await to_the_end(reader) == b""
        for connection in busy + silent:
            assert b" 200 " in await answer(connection)
        reader, writer = await stack.enter_async_context(dialled(port))
        assert b" 200 " in await answer((reader, writer))


def test_proxies_keep_connections_for_many() -> None:
    proxies = Proxies(["10.0.0.1/32", "fd00::1/128"])
    doorway = Doorway(head_sec=1.0, most_silent=1, is_trusted=proxies.trusts)
    for proxy in ("10.0.0.1", "fd00::1"):
        assert all(doorway.enter(proxy) for _ in range(100))
    for first, second in (("203.0.113.7", "203.0.113.7"), ("2001:db8::1", "2001:db8::2")):
        assert doorway.enter(first)
        assert not doorway.enter(second)
        doorway.leave(first)
        doorway.leave(second)
        assert doorway.enter(second)


# -- the program itself ------------------------------------------------------------------------------------------------


@pytest.mark.models
@pytest.mark.timeout(90)  # the program starts
async def test_who_encrypts_has_no_more_time(tmp_path: Path, nothing_left_behind: None) -> None:
    """Neither for the handshake nor for the head."""
    pair = await asyncio.to_thread(certificate_pair, tmp_path)
    trusted = await asyncio.to_thread(ssl.create_default_context, cafile=str(pair.certificate))
    settings = {
        "ANTIPHON_TLS__CERTIFICATE_FILE": str(pair.certificate),
        "ANTIPHON_TLS__KEY_FILE": str(pair.key),
        "ANTIPHON_LIMITS__HEAD_SEC": "0.5",
        "ANTIPHON_TELEMETRY__FILE": "",
    }
    async with edge_process(arguments=("--engine", "tone"), settings=settings) as edge:
        port = int(edge.url.rpartition(":")[2])
        async with dialled(port) as (silent, _):
            assert await to_the_end(silent) == b""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusted)
        writer.write(b"GET /healthz HTTP/1.1\r\n")
        assert (await to_the_end(reader)).startswith(b"HTTP/1.1 408 ")
        writer.close()
