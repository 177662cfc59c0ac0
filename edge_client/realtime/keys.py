"""Who may call: API keys of the operator, short-lived client secrets for browsers, and what the edge itself seals.

::

    API key         the operator's own: may do everything, as often as he likes
    client secret   may begin one call, with the session settings that it brings; asks for relays; hangs up that call
    sealed text     the edge's own words to itself, for one purpose each

Secrets and sealed texts are made with signing keys, from which each purpose derives a key of its own: a secret is no
sealed text, nor the other way round. Of API keys only their SHA-256 is kept here.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import SecretStr

from edge_client.realtime.client_secrets import ClientSecret, new_claims, read_claims, signed
from edge_client.realtime.sealing import Broken, seal, unseal
from edge_client.realtime.session_config import Json
from edge_client.realtime.used_ids import UsedIds, UsedInMemory
from routing.errors import AntiphonError


class Unauthorized(AntiphonError):
    """The credential is missing, unknown, expired, or used up. Ask for a new one."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a credential allows."""

    holder: str  # "key-<first 8 hex digits of the key's SHA-256>", "secret-<id>", or "" in development mode
    session: Json = field(default_factory=dict, repr=False)  # settings that a client secret brings along
    is_operator: bool = True  # by one of the operator's own keys, or in development mode
    issuer: str = ""  # of a client secret: the holder who asked for it, whose caps it counts against
    secret_id: str = ""  # of a client secret: used up when it begins a call
    expires_at: float | None = None  # Unix time

    def rules(self, other: Grant) -> bool:
        """Whether its holder may hang up what the other has begun."""
        return self.is_operator or self.holder == other.holder


EVERYTHING = Grant("")  # as in development mode


class KeyRing:
    """Checks credentials, and makes them. Where it ``is_open`` everybody is let in: development mode.

    Client secrets and sealed texts are made with the first of the ``signing_keys``, and believed by any of them. What
    is good once is looked up in ``used``.
    """

    def __init__(
        self,
        api_keys: Sequence[SecretStr],
        *,
        signing_keys: Sequence[bytes],
        is_open: bool = False,
        used: UsedIds | None = None,
    ) -> None:
        self._is_open = is_open
        self.used = used or UsedInMemory()
        self.renew(api_keys=api_keys, signing_keys=signing_keys)

    def renew(
        self, *, api_keys: Sequence[SecretStr] | None = None, signing_keys: Sequence[bytes] | None = None
    ) -> None:
        """Take these keys from now on instead of those before."""
        if api_keys is not None:
            self._digests = tuple(_digest(key.get_secret_value()) for key in api_keys)
        if signing_keys is not None:
            assert signing_keys, "nothing can be signed without a key"
            self._signing_keys = tuple(signing_keys)

    # -- credentials ---------------------------------------------------------------------------------------------------

    def issue(self, session: Json, *, now: float, lifetime_sec: int, issuer: str = "") -> ClientSecret:
        """A secret that begins one call with ``session`` settings within ``lifetime_sec`` seconds."""
        claims = new_claims(session, issuer=issuer, expires_at=int(now) + lifetime_sec)
        return ClientSecret(signed(claims, self._signing_keys[0]), claims.expires_at, session)

    def admit(self, credential: str | None, *, now: float) -> Grant:
        """What a credential allows. Nothing is used up by looking at it.

        Raises:
            Unauthorized: the credential opens nothing.
        """
        if grant := self._by_secret(credential or "", now):
            return grant
        if holder := self._operator(credential):
            return Grant(holder)
        if self._is_open:
            return Grant("")
        raise Unauthorized("expected a valid API key or client secret" + (", got none" if not credential else ""))

    def redeem(self, grant: Grant, *, now: float) -> None:
        """A call begins by this grant: a client secret is used up.

        Raises:
            Unauthorized: it has begun a call before, or has expired meanwhile.
            AtCapacity: more are in use than can be remembered.
        """
        if not grant.secret_id:
            return
        assert grant.expires_at is not None, "every client secret expires"
        if not self.once(_use_of(grant), until=grant.expires_at, now=now):
            raise Unauthorized("expected a client secret that has begun no call, got one that has: ask for a new one")

    def release(self, grant: Grant) -> None:
        """The call could not begin after all: its secret is good again. Call it in a thread, it may remove a file."""
        if grant.secret_id:
            self.used.forget(_use_of(grant))

    def is_api_key(self, credential: str | None) -> bool:
        """Whether this is one of the operator's own keys. In development mode everybody is the operator."""
        return self._is_open or self._operator(credential) is not None

    def demand_api_key(self, credential: str | None) -> None:
        """Let nobody but the operator in.

        Raises:
            Unauthorized: it is none of the operator's own keys.
        """
        if not self.is_api_key(credential):
            raise Unauthorized("expected a valid API key")

    def _by_secret(self, credential: str, now: float) -> Grant | None:
        claims = read_claims(credential, self._signing_keys)
        if claims is None or now >= claims.expires_at:
            return None
        return Grant(
            f"secret-{claims.id}",
            claims.session,
            is_operator=False,
            issuer=claims.issuer,
            secret_id=claims.id,
            expires_at=claims.expires_at,
        )

    def _operator(self, credential: str | None) -> str | None:
        """The holder, by the operator's own keys. How long it takes does not depend on which of them it is."""
        given = _digest(credential or "")
        known = [hmac.compare_digest(given, digest) for digest in self._digests]
        return f"key-{given.hex()[:8]}" if credential and any(known) else None

    # -- sealed texts, and what is good once ---------------------------------------------------------------------------

    def seal(self, content: bytes, *, purpose: str, now: float, lifetime_sec: float) -> str:
        """URL-safe text that holds the content, encrypted, for ``lifetime_sec`` seconds."""
        return seal(content, self._signing_keys, purpose=purpose, expires_at=now + lifetime_sec)

    def unseal(self, text: str, *, purpose: str, now: float) -> bytes:
        """The content of a text that was sealed for this purpose, here or at an edge with the same signing keys.

        Raises:
            Unauthorized: it is not ours, was changed, was sealed for something else, or has expired.
        """
        try:
            return unseal(text, self._signing_keys, purpose=purpose, now=now)
        except Broken as fault:
            raise Unauthorized(str(fault)) from None

    def once(self, identifier: str, *, until: float, now: float) -> bool:
        """Whether the id is seen for the first time, among all workers of the edge, and is still good.

        Raises:
            AtCapacity: more are in use than can be remembered.
        """
        return now < until and self.used.once(identifier, until=until)


def _use_of(grant: Grant) -> str:
    return f"client secret {grant.secret_id}"


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def bearer(authorization: str | None) -> str | None:
    """The credential in an Authorization header."""
    scheme, _, credential = (authorization or "").partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else None
