"""Content that leaves the edge and comes back: nobody else can read it, change it, or make some of his own.

A sealed text is URL-safe base64 of::

    version (1 byte) │ key (4) │ expiry, in milliseconds since 1970 (8) │ nonce (12) │ AES-256-GCM of it, with tag

Everything before the nonce is authenticated too, and so is the purpose, from which the key is derived as well: what
was sealed for one purpose opens for no other. Nonces are drawn at random, which NIST SP 800-38D allows for 2^32 texts
of one key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import struct
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from routing.errors import AntiphonError

VERSION = 1
KEY_BYTES = 32
NONCE_BYTES = 12

_HEAD = struct.Struct(">B4sQ")


class Broken(AntiphonError):
    """A sealed text is not ours, was changed, was sealed for something else, or has expired."""


def derived(key: bytes, purpose: str) -> bytes:
    """A key of its own for each purpose, by HKDF (RFC 5869) with SHA-256: none tells anything of another."""
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=b"antiphon " + purpose.encode()).derive(key)


def seal(content: bytes, keys: Sequence[bytes], *, purpose: str, expires_at: float) -> str:
    """The content under the first of ``keys``, until ``expires_at`` (Unix time)."""
    key = derived(keys[0], _seal_of(purpose))
    head, nonce = _HEAD.pack(VERSION, _name(key), int(expires_at * 1000)), secrets.token_bytes(NONCE_BYTES)
    return encoded(head + nonce + AESGCM(key).encrypt(nonce, content, head))


def unseal(text: str, keys: Sequence[bytes], *, purpose: str, now: float) -> bytes:
    """The content, where any of ``keys`` has sealed it.

    Raises:
        Broken: it does not open.
    """
    data = decoded(text)
    head, nonce, sealed = data[: _HEAD.size], data[_HEAD.size :][:NONCE_BYTES], data[_HEAD.size + NONCE_BYTES :]
    for key in (derived(key, _seal_of(purpose)) for key in keys):
        if head[1:5] == _name(key) and (content := _opened(key, nonce, sealed, head)) is not None:
            _expect_valid(head, now)
            return content
    raise Broken("expected something that was sealed here, got something else")


def _seal_of(purpose: str) -> str:
    return f"seal {purpose}"


def _name(key: bytes) -> bytes:
    """Of several keys it tells which one is meant, and nothing else about it."""
    return hashlib.sha256(key).digest()[:4]


def _opened(key: bytes, nonce: bytes, sealed: bytes, head: bytes) -> bytes | None:
    try:
        return AESGCM(key).decrypt(nonce, sealed, head)
    except (InvalidTag, ValueError):  # ValueError: too short for a nonce
        return None


def _expect_valid(head: bytes, now: float) -> None:
    version, _, expires_ms = _HEAD.unpack(head)
    if version != VERSION:
        raise Broken(f"expected a sealed text of version {VERSION}, got version {version}")
    if now * 1000 >= expires_ms:
        raise Broken("expected a sealed text that is still good, got one that has expired")


def encoded(data: bytes) -> str:
    """Base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decoded(text: str) -> bytes:
    """What `encoded` was given.

    Raises:
        Broken: it is no such text. Only the one spelling that `encoded` writes is taken.
    """
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise Broken("expected URL-safe base64, got something else") from None
    if encoded(data) != text:
        raise Broken("expected URL-safe base64, got another spelling of it")
    return data
