"""TURN servers: relays for callers, or for the edge itself, where no direct way leads from one to the other.

Credentials are made here, from a secret that the TURN server shares (coturn's ``use-auth-secret``): the user name is
when they expire, and the password proves that we said so. Nothing is asked of the server for it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from typing import Annotated, Any, Self

from aioice.stun import TransactionError, TransactionFailed
from aioice.turn import create_turn_endpoint
from aiortc import RTCIceServer
from aiortc.rtcicetransport import connection_kwargs
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from edge_client.comma_separated import CommaSeparated
from routing.errors import SettingsError

OWN_NAME = "edge"  # in the user name with which the edge asks for a relay of its own
ANSWER_TIMEOUT_SEC = 5.0

_URL = re.compile(r"turns?:([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?(\?transport=(udp|tcp))?")


def _checked_url(url: str) -> str:
    if not _URL.fullmatch(url):
        raise ValueError(f"expected an address like turn:turn.example.com:3478?transport=udp, got {url!r}")
    return url


class TurnSettings(BaseModel):
    """The TURN server that callers, and the edge where it is told to, may use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    urls: CommaSeparated[Annotated[str, AfterValidator(_checked_url)]] = ()
    secret: SecretStr | None = None  # the server's static-auth-secret
    lifetime_sec: int = Field(default=600, ge=30)  # of credentials: how long a call may wait before it is begun

    @model_validator(mode="after")
    def _come_together(self) -> Self:
        if bool(self.urls) != bool(self.secret and self.secret.get_secret_value()):
            raise ValueError("expected both urls and secret of the TURN server, got one of them")
        return self


@dataclass(frozen=True, slots=True)
class Relays:
    """The TURN servers as a caller is told of them."""

    urls: tuple[str, ...]
    username: str
    credential: str
    expires_at: int  # seconds since 1970

    def __repr__(self) -> str:
        return f"Relays(urls={self.urls!r}, username={self.username!r}, expires_at={self.expires_at})"


def relays(settings: TurnSettings, *, name: str, now: float) -> Relays | None:
    """Credentials for whoever is called ``name`` in the TURN server's log; None where there is no TURN server."""
    if settings.secret is None:
        return None
    expires_at = int(now) + settings.lifetime_sec
    username = f"{expires_at}:{name}"
    digest = hmac.digest(settings.secret.get_secret_value().encode(), username.encode(), hashlib.sha1)
    return Relays(settings.urls, username, base64.b64encode(digest).decode(), expires_at)


def relays_told(body: bytes) -> Relays | None:
    """TURN servers as an edge tells them to its callers; None where it tells of none."""
    try:
        told = json.loads(body)
    except ValueError:
        return None
    match told:
        case {
            "ice_servers": [{"urls": [*urls], "username": str(name), "credential": str(word)}],
            "expires_at": int(expires_at),
        } if urls:
            return Relays(tuple(map(str, urls)), name, word, expires_at)
    return None


def own_servers(settings: TurnSettings, *, now: float) -> list[RTCIceServer]:
    """For a connection of the edge that shall have a relay of its own. Of several addresses aiortc takes the first."""
    own = relays(settings, name=OWN_NAME, now=now)
    if own is None:
        return []
    return [ice_server(own)]


def ice_server(told: Relays) -> RTCIceServer:
    """The same for aiortc."""
    return RTCIceServer(urls=list(told.urls), username=told.username, credential=told.credential)


async def check_relay(settings: TurnSettings, *, now: float) -> str:
    """Ask the TURN server for a relay, give it back, and return its address.

    A wrong secret would otherwise show only in calls that stay silent, and there without a reason.

    Raises:
        SettingsError: it gives none; the message says why.
    """
    own = relays(settings, name=OWN_NAME, now=now)
    if own is None:
        raise SettingsError("peer.turn: expected the address of a TURN server that can be used, got none")
    return await try_relay(own)


async def try_relay(told: Relays) -> str:
    """The same with what a caller was told. Of several addresses the first is asked.

    Raises:
        SettingsError: it gives none; the message says why.
    """
    where = told.urls[0]
    options = connection_kwargs([ice_server(told)])
    if "turn_server" not in options:
        raise SettingsError(f"peer.turn: expected the address of a TURN server that can be used, got {where}")
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_SEC):
            return await _borrow(options)
    except TransactionFailed as exc:
        raise SettingsError(
            f"peer.turn: {where} refuses our credentials ({exc});"
            " expected peer.turn.secret to be its static-auth-secret, and both clocks to agree"
        ) from exc
    except (TransactionError, TimeoutError, OSError) as exc:
        raise SettingsError(f"peer.turn: {where} does not answer ({str(exc) or type(exc).__name__})") from exc


async def _borrow(options: dict[str, Any]) -> str:
    transport, protocol = await create_turn_endpoint(
        _Borrowed,
        server_addr=options["turn_server"],
        username=options["turn_username"],
        password=options["turn_password"],
        ssl=options["turn_ssl"],
        transport=options["turn_transport"],
    )
    host, port = transport.get_extra_info("sockname")
    transport.close()
    await protocol.returned.wait()
    return f"{host}:{port}"


class _Borrowed(asyncio.DatagramProtocol):
    """A relay that is given back at once."""

    def __init__(self) -> None:
        self.returned = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (the name is asyncio's)
        self.returned.set()
