"""Certificates that an edge shows: to those who connect to it, and to its cloud.

A certificate is renewed by writing its files anew, as cert-manager does. They are looked at now and then; a connection
that is begun afterwards is shown the new one, others go on.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict, model_validator

from routing.errors import SettingsError

logger = logging.getLogger(__name__)

LOOK_SEC = 10.0


class TlsSettings(BaseModel):
    """Both files in PEM; none of them: plain HTTP, for this machine or behind a proxy that encrypts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    certificate_file: Path | None = None  # with the whole chain
    key_file: Path | None = None

    @model_validator(mode="after")
    def _come_together(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("expected both certificate_file and key_file, got one of them")
        return self


class _Content(NamedTuple):
    """Of the files, at one look."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "_Content(…)"


class Identity:
    """A certificate and its key, for the ``context`` of connections. The key may be in the certificate's file.

    Raises:
        SettingsError: a file cannot be read, or the two are no pair. Nothing of the key is told.
    """

    def __init__(self, context: ssl.SSLContext, certificate: Path, key: Path | None = None) -> None:
        self.context = context
        self._certificate = certificate
        self._key = key or certificate
        self._taken: _Content | None = None
        self._fault = ""  # of the last look
        self._take(self._checked())

    async def keep(self) -> None:
        """Take the renewed certificate whenever there is one, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SEC)
            await self.look()

    async def look(self) -> None:
        """Take what has changed. Where something is wrong with it, the one before stays, and it is logged once.

        Taken on the event loop: connections must not be begun meanwhile. That takes a fraction of a millisecond.
        """
        try:
            content = await asyncio.to_thread(self._checked)
            if content != self._taken:
                self._take(content)
                logger.info("%s: the renewed certificate is in use", self._certificate)
            self._fault = ""
        except SettingsError as fault:
            if str(fault) != self._fault:
                logger.error("%s; the certificate before stays in use", fault)
            self._fault = str(fault)

    def _checked(self) -> _Content:
        """What is in the files now. A context that took a certificate without its key would have neither."""
        content = _Content(_read(self._certificate), _read(self._key))
        if content != self._taken:
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        return content

    def _take(self, content: _Content) -> None:
        self._load(self.context)
        self._taken = content

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            wanted = f"expected a certificate in {self._certificate} and its key in {self._key}, in PEM, not encrypted"
            raise SettingsError(f"{wanted}, got {_worded(error)}") from None


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None


def _no_password() -> str:
    """Otherwise OpenSSL would ask the terminal."""
    raise ValueError("expected no password")


def _worded(error: Exception) -> str:
    match getattr(error, "reason", None):
        case "KEY_VALUES_MISMATCH":
            return "the key of another certificate"
        case _:
            return "something else"


def server_identity(settings: TlsSettings) -> Identity | None:
    """For those who connect to us, by TLS 1.2 or later; None where nothing is encrypted here. Reads files.

    Raises:
        SettingsError: there is no such certificate, or not with this key.
    """
    if settings.certificate_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return Identity(context, settings.certificate_file, settings.key_file)
