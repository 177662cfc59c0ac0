"""Refuses request bodies that are too large, before they are read, and those that do not come to an end."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_client.realtime.faults import error_body, error_response

DISCARDED_BYTES = 64 * 1024 * 1024  # of a refused body, read so that its sender lives to see the answer


class _Refused(Exception):
    """The body goes on for too long, in bytes or in seconds."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class BodyLimit:
    """ASGI middleware: answers 413 to bodies over ``maximum_bytes``, whatever their length claims to be.

    Those that are still not complete after ``maximum_sec`` get 408.
    """

    def __init__(self, app: ASGIApp, *, maximum_bytes: int, maximum_sec: float) -> None:
        self._app = app
        self._maximum_bytes = maximum_bytes
        self._maximum_sec = maximum_sec

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        deadline = asyncio.get_running_loop().time() + self._maximum_sec
        try:
            if self._claims_too_much(Headers(scope=scope)):
                raise self._too_large()
            await self._app(scope, self._limited(receive, deadline), send)
        except _Refused as refusal:
            await _discard(receive, deadline)
            await _answer(refusal)(scope, receive, send)

    def _claims_too_much(self, headers: Headers) -> bool:
        length = headers.get("content-length", "0")
        return length.isdecimal() and int(length) > self._maximum_bytes

    def _limited(self, receive: Receive, deadline: float) -> Receive:
        read, more = 0, True

        async def limited() -> Message:
            nonlocal read, more
            message = await self._in_time(receive, deadline if more else None)
            read += len(message.get("body", b""))
            more = message.get("more_body", False)
            if read > self._maximum_bytes:
                raise self._too_large()
            return message

        return limited

    async def _in_time(self, receive: Receive, deadline: float | None) -> Message:
        try:
            async with asyncio.timeout_at(deadline):
                return await receive()
        except TimeoutError:
            message = f"expected the whole body within {self._maximum_sec:g} seconds, got a part of it"
            raise _Refused(408, "body_too_slow", message) from None

    def _too_large(self) -> _Refused:
        message = f"expected a body of at most {self._maximum_bytes} bytes, got a larger one"
        return _Refused(413, "body_too_large", message)


def _answer(refusal: _Refused) -> JSONResponse:
    return error_response(refusal.status, error_body(str(refusal), code=refusal.code), {"Connection": "close"})


async def _discard(receive: Receive, deadline: float) -> None:
    try:
        async with asyncio.timeout_at(deadline):
            await _read_on(receive)
    except TimeoutError:
        return


async def _read_on(receive: Receive) -> None:
    read, more = 0, True
    while more and read < DISCARDED_BYTES:
        message = await receive()
        read += len(message.get("body", b""))
        more = message.get("more_body", False)
