"""Which pages may ask an edge without keys: in development mode only those of this machine.

A page from anywhere can have its own name lead to 127.0.0.1 (DNS rebinding), and then asks an edge of its visitor's
machine as if both were one site. The name that it asks for gives it away. And any page may send a form anywhere, an
offer too: it cannot read what is answered, but the call has begun. There its own origin gives it away.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from edge_client.realtime.faults import error_body, error_response


class KnownHosts:
    """ASGI middleware, for development mode. ``allowed_origins`` and their names are known too; ``*`` is any."""

    def __init__(self, app: ASGIApp, *, allowed_origins: Iterable[str]) -> None:
        self._app = app
        self._any = "*" in allowed_origins
        self._origins = frozenset(allowed_origins)
        self._known = {_name(urlsplit(origin).netloc) for origin in allowed_origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers() if scope["type"] == "lifespan" else Headers(scope=scope)
        host = headers.get("host", "")
        if not (self._any or not host or is_loopback(host) or _name(host) in self._known):
            await _host_refused(_name(host))(scope, receive, send)
        elif not (self._any or self._is_ours(headers, host)):
            await _page_refused()(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_ours(self, headers: Headers, host: str) -> bool:
        """Whether no page asks, or one that may. What takes no credential and is only shown has no origin (images)."""
        origin = headers.get("origin")
        if origin is None:
            return (headers.get("sec-fetch-site"), headers.get("sec-fetch-mode")) != ("cross-site", "no-cors")
        place = origin.partition("://")[2]
        return origin in self._origins or place == host or is_loopback(place)


def is_loopback(host: str) -> bool:
    """Whether a Host header names this machine and nothing else. Names below ``localhost`` do (RFC 6761)."""
    name = _name(host)
    try:
        return name == "localhost" or name.endswith(".localhost") or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """A Host header without its port, an address of IPv6 without its brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".").lower()


def _page_refused() -> ASGIApp:
    message = (
        "expected a page of this machine while there are no API keys, got one from elsewhere:"
        " set api_keys, or name its origin in allowed_origins"
    )
    return error_response(403, error_body(message, code="origin_not_allowed"))


def _host_refused(name: str) -> ASGIApp:
    message = (
        f"expected a host of this machine, as localhost, while there are no API keys, got {name[:100]!r}:"
        " set api_keys, or name its origin in allowed_origins"
    )
    return error_response(403, error_body(message, code="host_not_allowed"))
