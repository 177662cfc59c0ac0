"""What every answer tells a browser not to do with it."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STRICT_TRANSPORT_SEC = 365 * 24 * 3600

# An answer that has said something else of the same kind keeps it, as the page does.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), display-capture=(), geolocation=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for those who do not know frame-ancestors
}
STRICT_TRANSPORT = {"Strict-Transport-Security": f"max-age={STRICT_TRANSPORT_SEC}"}

_STARTS = {"http.response.start", "websocket.http.response.start"}


class SecurityHeaders:
    """ASGI middleware. Where the edge itself is ``encrypted``, browsers are told to come back by no other way."""

    def __init__(self, app: ASGIApp, *, encrypted: bool) -> None:
        self._app = app
        self._headers = HEADERS | STRICT_TRANSPORT if encrypted else HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] in _STARTS:
                self._add(message)
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _add(self, message: Message) -> None:
        headers = MutableHeaders(scope=message)
        for name, value in self._headers.items():
            headers.setdefault(name, value)
