"""Connections to servers that do not do as they should; the servers are scripted, the sockets are real."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from edge_client.upstream.backend import UpstreamBackend
from edge_client.upstream.line import SPECULATIVE_CHARACTERS
from edge_client.upstream.settings import UpstreamSettings
from routing.errors import AtCapacity, BackendError, BackendUnavailable
from routing.telemetry.traced_backend import Travelled
from routing.track import why
from routing.turns import Exchange, Message, ReplyEnd, ReplyEvent, TextDelta, Turn

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

type Handler = Callable[[ServerConnection], Awaitable[None]]

TURN = Turn(
    session_id="session",
    turn_id="turn",
    index=0,
    history=(Message("user", "Go on."),),
    trace_context={"traceparent": TRACEPARENT, "baggage": "name=Ada"},
)
DONE = json.dumps({"type": "response.done", "response": {"status": "completed", "usage": None}})


@asynccontextmanager
async def asking(handler: Handler, **options: object) -> AsyncIterator[Exchange]:
    """An exchange with a server that does what ``handler`` says."""
    async with serve(handler, "127.0.0.1", 0, close_timeout=1, **options) as server:  # type: ignore[arg-type]
        port = next(iter(server.sockets)).getsockname()[1]
        backend = UpstreamBackend(UpstreamSettings(url=f"ws://127.0.0.1:{port}", connect_timeout_sec=5))
        async with backend.open(TURN, on_heard=lambda heard: None) as exchange:
            yield exchange


async def reply_of(exchange: Exchange) -> list[ReplyEvent]:
    async with asyncio.timeout(10), aclosing(exchange.reply()) as events:
        return [event async for event in events]


def words(text: str) -> str:
    return json.dumps({"type": "response.output_audio_transcript.delta", "delta": text})


async def asked(connection: ServerConnection) -> None:
    """Return when a response is wanted."""
    async for message in connection:
        if json.loads(message)["type"] == "response.create":
            return


async def test_a_reply_ends_with_a_leave_and_the_trace_goes_along(nothing_left_behind: None) -> None:
    seen: dict[str, str | None] = {}
    left = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        assert connection.request
        seen.update({name: connection.request.headers.get(name) for name in ("traceparent", "baggage")})
        await asked(connection)
        await connection.send(words("Hello."))
        await connection.send(DONE)
        await connection.wait_closed()
        seen["code"] = str(connection.close_code)
        left.set()

    async with asking(handler) as exchange:
        exchange.commit()
        hello, end = await reply_of(exchange)
        await asyncio.wait_for(left.wait(), 10)
    assert hello == TextDelta("Hello.")
    assert isinstance(end, ReplyEnd)
    assert seen == {"traceparent": TRACEPARENT, "baggage": None, "code": "1000"}


@pytest.mark.parametrize(
    ("answer", "error", "message", "retry_after_sec"),
    [
        ((429, {"Retry-After": "12"}, ""), AtCapacity, "HTTP 429", 12),
        ((503, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, ""), AtCapacity, "HTTP 503", 5),
        ((502, {}, ""), BackendUnavailable, "HTTP 502", None),
        ((403, {}, '{"error": {"message": "bad key: sk-123"}}'), BackendError, "the key is not accepted$", None),
        ((404, {}, '{"error": {"message": "no such model"}}'), BackendError, "HTTP 404: no such model", None),
        ((404, {}, "<html>"), BackendError, "HTTP 404: no reason given", None),
    ],
)
async def test_a_refused_connection_says_what_to_do(
    answer: tuple[int, Mapping[str, str], str], error: type, message: str, retry_after_sec: float | None
) -> None:
    status, headers, body = answer

    def refuse(connection: ServerConnection, request: Request) -> Response:
        response = connection.respond(HTTPStatus(status), body)
        response.headers.update(headers)
        return response

    async with asking(asked, process_request=refuse) as exchange:
        with pytest.raises(error, match=message) as refused:
            await reply_of(exchange)
    assert getattr(refused.value, "retry_after_sec", None) == retry_after_sec
    assert isinstance(refused.value, BackendError)
    assert isinstance(exchange, Travelled)
    assert [(phase.name, phase.error) for phase in exchange.journey().phases] == [
        ("upstream.connect", why(refused.value))
    ]


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [(1013, AtCapacity, "full"), (1012, BackendUnavailable, "1012"), (1000, BackendUnavailable, "before the reply")],
)
async def test_a_connection_that_is_closed_too_early_is_a_fault(code: int, error: type, message: str) -> None:
    async def handler(connection: ServerConnection) -> None:
        await asked(connection)
        await connection.send(words("Well, "))
        await connection.close(code)

    async with asking(handler) as exchange:
        events = exchange.reply()
        assert await anext(events) == TextDelta("Well, ")
        with pytest.raises(error, match=message):
            await anext(events)


async def test_a_lost_connection_is_a_fault() -> None:
    async def handler(connection: ServerConnection) -> None:
        await asked(connection)
        connection.transport.abort()

    async with asking(handler) as exchange:
        with pytest.raises(BackendUnavailable, match="1006"):
            await reply_of(exchange)


@pytest.mark.parametrize("noise", ["no JSON", "[" * 100_000, "[1]", b"\xff\xfe"])
async def test_noise_is_a_fault(noise: str | bytes) -> None:
    async def handler(connection: ServerConnection) -> None:
        await asked(connection)
        await connection.send(noise)
        await connection.wait_closed()

    async with asking(handler) as exchange:
        with pytest.raises(BackendError):
            await reply_of(exchange)


async def test_a_server_is_read_no_further_than_it_is_listened_to(nothing_left_behind: None) -> None:
    """Until it is certain that the reply is wanted; then it is not kept waiting."""
    sent, wanted = 0, 400
    message = words("x" * (SPECULATIVE_CHARACTERS // 8))

    async def handler(connection: ServerConnection) -> None:
        nonlocal sent
        connection.transport.set_write_buffer_limits(0)
        await asked(connection)
        for _ in range(wanted):
            await connection.send(message)
            sent += 1
        await connection.send(DONE)
        await connection.wait_closed()

    async with asking(handler) as exchange:
        events = exchange.reply()
        await anext(events)
        stood = -1
        while sent != stood:
            stood = sent
            await asyncio.sleep(0.05)
        assert sent < wanted
        exchange.commit()
        async with asyncio.timeout(10), aclosing(events):
            assert sum(isinstance(event, TextDelta) for event in [event async for event in events]) == wanted - 1
