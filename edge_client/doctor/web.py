"""Requests to servers, without proxies, and without believing how much they send."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx

from edge_client.doctor.aside import aside
from routing.errors import InvalidRequest

REQUEST_SEC = 5.0
LONGEST_BODY = 64 * 1024  # bytes that are read of an answer


@dataclass(frozen=True, slots=True)
class Answered:
    """What a server answered; ``body`` is cut where it gets too long."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def epoch_sec(self) -> float | None:
        """What time it is there, to a second; None where it does not tell."""
        try:
            return parsedate_to_datetime(self.headers["date"]).timestamp()
        except (LookupError, ValueError, TypeError):
            return None


async def asked(
    url: str,
    *,
    method: str = "GET",
    key: str | None = None,
    ca_file: Path | None = None,
    json: Any = None,
    trusted: bool = True,
) -> Answered:
    """Ask a server; one that need not be ``trusted`` may show any certificate, and is sent no key.

    Raises:
        httpx.HTTPError, OSError: it cannot be reached; see `why`.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    assert trusted or not key
    trust = await _trust(url, ca_file) if trusted else False
    async with (
        httpx.AsyncClient(timeout=REQUEST_SEC, trust_env=False, verify=trust) as client,
        client.stream(method, url, headers=headers, json=json) as response,
    ):
        body = bytearray()
        async for part in response.aiter_bytes():
            body += part
            if len(body) > LONGEST_BODY:
                break
    return Answered(response.status_code, dict(response.headers), bytes(body))


async def _trust(url: str, ca_file: Path | None) -> ssl.SSLContext | bool:
    if not url.startswith("https:"):
        return False
    return await aside(lambda: ssl.create_default_context(cafile=ca_file))


def why(error: Exception) -> str:
    """What went wrong on the way, in a few words."""
    return str(error) or {"ConnectTimeout": "no connection in time", "ReadTimeout": "no answer in time"}.get(
        type(error).__name__, type(error).__name__
    )


def as_http(url: str) -> str:
    """The address of a WebSocket, or of anything, as one of HTTP."""
    with_scheme = url if "://" in url else f"http://{url}"
    parts = urlsplit(with_scheme)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def check_address(url: str) -> None:
    """To be told before anything is looked at.

    Raises:
        InvalidRequest: it is none.
    """
    try:
        parts = urlsplit(as_http(url))
        is_address = bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that are not closed, a port that is none
        is_address = False
    if not is_address:
        raise InvalidRequest(f"expected the address of an edge like https://voice.example.com, got {url!r}")


def edge_of(url: str) -> str:
    """Where an edge is: ``url`` may end anywhere on the way to where it takes offers."""
    return as_http(url).removesuffix("/v1/realtime/calls").removesuffix("/v1/realtime").removesuffix("/v1")


def base_of(url: str) -> str:
    """Only the server of it, without a path, a user or a password."""
    parts = urlsplit(as_http(url))
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
