"""Refuses request bodies that are too large, before they are read."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

DISCARDED_BYTES = 64 * 1024 * 1024  # of a refused body, read so that its sender lives to see the answer


class _TooLarge(Exception):
    """The body went over the limit while it was being read."""


class BodyLimit:
    """ASGI middleware: answers 413 to bodies over ``maximum_bytes``, whatever their length claims to be."""

    def __init__(self, app: ASGIApp, *, maximum_bytes: int) -> None:
        self._app = app
        self._maximum_bytes = maximum_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            if self._claims_too_much(Headers(scope=scope)):
                raise _TooLarge
            await self._app(scope, self._counted(receive), send)
        except _TooLarge:
            await _discard(receive)
            await self._refusal()(scope, receive, send)

    def _claims_too_much(self, headers: Headers) -> bool:
        length = headers.get("content-length", "0")
        return length.isdecimal() and int(length) > self._maximum_bytes

    def _counted(self, receive: Receive) -> Receive:
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._maximum_bytes:
                raise _TooLarge
            return message

        return counted

    def _refusal(self) -> JSONResponse:
        message = f"expected a body of at most {self._maximum_bytes} bytes, got a larger one"
        body = {"type": "invalid_request_error", "code": "body_too_large", "message": message, "param": None}
        return JSONResponse({"error": body}, 413, {"Connection": "close"})


async def _discard(receive: Receive) -> None:
    read, more = 0, True
    while more and read < DISCARDED_BYTES:
        message = await receive()
        read += len(message.get("body", b""))
        more = message.get("more_body", False)
