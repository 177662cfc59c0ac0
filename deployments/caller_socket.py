"""A caller's connection, as the ingress sees it: messages that were checked come in, encoded ones go out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.websockets import WebSocket, WebSocketDisconnect

from routing.load import Load
from routing.telemetry.carrier import plain_carrier
from routing.telemetry.phase import Carrier
from routing.wire import Conduct, Message, Ping, Pong, WireError, decode, encode

TOO_SLOW = "timeout"


class CallerSocket:
    """Nothing that breaks the protocol gets past it. Pings are answered by itself, with what ``load`` returns."""

    def __init__(self, socket: WebSocket, load: Callable[[], Awaitable[Load]]) -> None:
        self._socket = socket
        self._load = load
        self._conduct = Conduct()

    @property
    def trace_context(self) -> Carrier:
        """The span that the connection belongs to, as its headers say: W3C Trace Context."""
        return plain_carrier(self._socket.headers)

    async def receive(self, *, within_sec: float) -> tuple[Message, bytes]:
        """The next message of a turn, and the bytes it came as. A `Ping` is none, and buys no time.

        Raises:
            WireError: it may not come, or nothing came in time.
            WebSocketDisconnect: the caller is gone, which is how a turn is cancelled.
        """
        try:
            async with asyncio.timeout(within_sec):
                while isinstance(message := decode(data := await self._next()), Ping):
                    await self._answer(message)
        except TimeoutError:
            raise WireError(f"expected a message within {within_sec:g} s, got none", code=TOO_SLOW) from None
        self._conduct.feed(message)
        return message, data

    async def answer_ping(self, *, within_sec: float) -> None:
        """Wait for a `Ping` and answer it; raises the same, where something else comes too."""
        try:
            async with asyncio.timeout(within_sec):
                message = decode(await self._next())
        except TimeoutError:
            raise WireError(f"expected Ping within {within_sec:g} s, got none", code=TOO_SLOW) from None
        if not isinstance(message, Ping):
            raise WireError(f"expected Ping, got {type(message).__name__}")
        await self._answer(message)

    async def send(self, data: bytes) -> None:
        """Send an encoded message; waits while the connection is congested."""
        await self._socket.send_bytes(data)

    async def _answer(self, ping: Ping) -> None:
        await self.send(encode(Pong(ping.number, await self._load())))

    async def _next(self) -> bytes:
        received = await self._socket.receive()
        if received["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(received.get("code", 1000))
        data = received.get("bytes")
        if data is None:
            raise WireError("expected a binary message, got text")
        return bytes(data)
