"""The connection of one turn, as the ingress sees it: messages that were checked come in, encoded ones go out."""

from __future__ import annotations

import asyncio

from starlette.websockets import WebSocket, WebSocketDisconnect

from routing.wire import Conduct, Message, WireError, decode

TOO_SLOW = "timeout"


class CallerSocket:
    """Nothing that breaks the protocol gets past it."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._conduct = Conduct()

    async def receive(self, *, within_sec: float | None) -> tuple[Message, bytes]:
        """The next message, and the bytes it came as.

        Raises:
            WireError: it may not come, or nothing came in time.
            WebSocketDisconnect: the caller is gone, which is how a turn is cancelled.
        """
        data = await self._next(within_sec)
        message = decode(data)
        self._conduct.feed(message)
        return message, data

    async def receive_any(self) -> Message:
        """The next message, whatever came before it; raises the same."""
        return decode(await self._next(None))

    async def _next(self, within_sec: float | None) -> bytes:
        try:
            async with asyncio.timeout(within_sec):
                received = await self._socket.receive()
        except TimeoutError:
            raise WireError(f"expected a message within {within_sec:g} s, got none", code=TOO_SLOW) from None
        if received["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(received.get("code", 1000))
        data = received.get("bytes")
        if data is None:
            raise WireError("expected a binary message, got text")
        return bytes(data)

    async def send(self, data: bytes) -> None:
        """Send an encoded message; waits while the connection is congested."""
        await self._socket.send_bytes(data)
