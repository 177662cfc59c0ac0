"""Who may call: API keys of the operator, and short-lived client secrets for browsers.

A client secret is ``ek_<claims>.<signature>``: it carries its expiry and session settings, signed with a key that
the program made at the start, so nothing is stored and a restart ends all secrets.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import SecretStr

from edge_client.realtime.session_config import Json
from routing.errors import AntiphonError

SECRET_PREFIX = "ek_"


class Unauthorized(AntiphonError):
    """The credential is missing, unknown or expired. Ask for a new one."""


@dataclass(frozen=True, slots=True)
class ClientSecret:
    value: str = field(repr=False)
    expires_at: int  # Unix time
    session: Json


class KeyRing:
    """Checks credentials. Without API keys everybody is let in: development mode.

    Key rings with the same ``signing_key`` accept each other's client secrets; by default each makes its own.
    """

    def __init__(self, api_keys: Sequence[SecretStr], *, signing_key: bytes | None = None) -> None:
        self._api_keys = [key.get_secret_value().encode() for key in api_keys]
        self._signing_key = signing_key or secrets.token_bytes(32)

    def issue(self, session: Json, *, now: float, lifetime_sec: int) -> ClientSecret:
        """A secret that starts calls with ``session`` settings for ``lifetime_sec`` seconds."""
        expires_at = int(now) + lifetime_sec
        claims = json.dumps({"expires_at": expires_at, "session": session}).encode()
        value = f"{SECRET_PREFIX}{_encode(claims)}.{_encode(self._sign(claims))}"
        return ClientSecret(value, expires_at, session)

    def admit(self, credential: str | None, *, now: float) -> Json:
        """The session settings that a credential brings along: those of a client secret, else none.

        Raises:
            Unauthorized: the credential opens nothing.
        """
        if credential and credential.startswith(SECRET_PREFIX):
            claims = self._claims(credential)
            if claims and now < claims["expires_at"]:
                session: Json = claims["session"]
                return session
        if not self._api_keys or self.is_api_key(credential):
            return {}
        raise Unauthorized("expected a valid API key or client secret" + (", got none" if not credential else ""))

    def is_api_key(self, credential: str | None) -> bool:
        """Whether this is one of the operator's own keys. In development mode everybody is the operator."""
        given = (credential or "").encode()
        return not self._api_keys or any(hmac.compare_digest(given, key) for key in self._api_keys)

    def demand_api_key(self, credential: str | None) -> None:
        """Let nobody but the operator in.

        Raises:
            Unauthorized: it is none of the operator's own keys.
        """
        if not self.is_api_key(credential):
            raise Unauthorized("expected a valid API key")

    def _claims(self, secret: str) -> Json | None:
        try:
            claims, signature = map(_decode, secret.removeprefix(SECRET_PREFIX).split("."))
        except ValueError:
            return None
        if not hmac.compare_digest(signature, self._sign(claims)):
            return None
        signed: Json = json.loads(claims)
        return signed

    def _sign(self, claims: bytes) -> bytes:
        return hmac.digest(self._signing_key, claims, hashlib.sha256)


def bearer(authorization: str | None) -> str | None:
    """The credential in an Authorization header."""
    scheme, _, credential = (authorization or "").partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else None


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
