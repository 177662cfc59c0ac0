"""Counts who asks for something, before anything is done about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from math import ceil

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from edge_client.realtime.addresses import Proxies, counted_as
from edge_client.realtime.faults import error_body, error_response
from edge_client.realtime.guard import Guard, TooManyRequests
from edge_client.workers.siblings import ADDRESS

COUNTED = ("/v1/", "/metrics")  # whatever takes a credential; the page and the probes are free
WRONG_KEY = 401

# What is refused by others, by the status that it is told with.
REASONS: Mapping[int, str] = {
    WRONG_KEY: "wrong_key",
    403: "origin",
    408: "body_too_slow",
    413: "body_too_large",
    503: "no_place",
}


class Turnstile:
    """ASGI middleware: answers 429 where an address asks too often, and tells the application the address.

    It finds it as ``request.state.address``. What another worker has passed on was counted there.
    """

    def __init__(self, app: ASGIApp, *, guard: Guard, proxies: Proxies, on_refused: Callable[[str], None]) -> None:
        self._app = app
        self._guard = guard
        self._proxies = proxies
        self._on_refused = on_refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        client, headers = scope.get("client"), Headers(scope=scope)
        if not client and _is_over_network(scope):
            await answer_early(Response(status_code=400), scope, receive, send)  # nobody reads it
            return
        address = counted_as(self._caller(client[0], headers)) if client else headers.get(ADDRESS, "")
        scope.setdefault("state", {})["address"] = address
        if not client or not scope["path"].startswith(COUNTED):
            await self._app(scope, receive, send)
            return
        try:
            self._guard.ask(address, asyncio.get_running_loop().time())
        except TooManyRequests as fault:
            await answer_early(too_many(fault), scope, receive, send)
        else:
            await self._app(scope, receive, self._watched(send, address))

    def _caller(self, connected: str, headers: Headers) -> str:
        return self._proxies.caller(connected, headers.getlist("x-forwarded-for"))

    def _watched(self, send: Send, address: str) -> Send:
        async def watched(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                self._note(message["status"], address)
            await send(message)

        return watched

    def _note(self, status: int, address: str) -> None:
        if status == WRONG_KEY:
            self._guard.charge_wrong_key(address, asyncio.get_running_loop().time())
        if status in REASONS:
            self._on_refused(REASONS[status])


def _is_over_network(scope: Scope) -> bool:
    """Rather than over a Unix socket, as the other workers ask, who are believed whom they ask for.

    A caller who resets the connection at once has no address any more when it is looked up, and looks like one of them.
    """
    server = scope.get("server")
    return server is not None and server[1] is not None


def too_many(fault: TooManyRequests) -> Response:
    """In the protocol's words."""
    body = error_body(str(fault), code="rate_limit_exceeded", kind="rate_limit_error")
    return error_response(429, body, {"Retry-After": str(ceil(fault.retry_after_sec))})


async def answer_early(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Instead of the application, over HTTP or to a WebSocket that is not open yet."""
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(response)
    else:
        await response(scope, receive, send)
