"""Client secrets: short-lived credentials that the operator's own server gets for a browser.

A client secret is ``ek_<claims>.<signature>``. It carries everything that must be known of it, signed with HMAC-SHA256,
so that nothing is stored, and any edge with the same signing keys believes it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from edge_client.realtime.sealing import Broken, decoded, derived, encoded
from edge_client.realtime.session_config import Json

PREFIX = "ek_"
PURPOSE = "client secret"
ID_BYTES = 12


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """What the operator's server gets."""

    value: str = field(repr=False)
    expires_at: int  # Unix time
    session: Json = field(repr=False)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a client secret says of itself."""

    id: str
    issuer: str  # the holder who asked for it
    expires_at: int  # Unix time
    session: Json = field(repr=False)


def new_claims(session: Json, *, issuer: str, expires_at: int) -> Claims:
    return Claims(secrets.token_hex(ID_BYTES), issuer, expires_at, session)


def signed(claims: Claims, key: bytes) -> str:
    """The client secret that says so, by the signing key."""
    content = json.dumps(asdict(claims)).encode()
    return f"{PREFIX}{encoded(content)}.{encoded(_signature(content, key))}"


def read_claims(credential: str, keys: Sequence[bytes]) -> Claims | None:
    """What a client secret says, where one of the signing keys has signed it; whether it is still good is not told."""
    if not credential.startswith(PREFIX):
        return None
    try:
        content, signature = map(decoded, credential.removeprefix(PREFIX).split("."))
    except (Broken, ValueError):  # ValueError: not two parts
        return None
    if not any([hmac.compare_digest(signature, _signature(content, key)) for key in keys]):  # noqa: C419 (all, always)
        return None
    return _read(content)


def _read(content: bytes) -> Claims | None:
    """Signed by us, but perhaps by a version of us that said other things."""
    try:
        return Claims(**json.loads(content))
    except TypeError:
        return None


def _signature(content: bytes, key: bytes) -> bytes:
    return hmac.digest(derived(key, PURPOSE), content, hashlib.sha256)
