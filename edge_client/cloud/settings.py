"""What the edge is told of its cloud."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Self
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

_TOKEN = re.compile(r"[\x21-\x7e]+")


class CloudSettings(BaseModel):
    """Where the cloud is, how to be let in, and how long to wait for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = ""  # where the ingress is, as "wss://cloud.example"; "": there is no cloud
    key: SecretStr | None = None  # sent as a bearer token
    ca_file: Path | None = None  # whose certificates are trusted instead of the system's
    certificate_file: Path | None = None  # shown to it, with the key in it or in key_file (mutual TLS)
    key_file: Path | None = None
    connect_timeout_sec: float = Field(default=2.0, gt=0, le=60)  # name, TCP, TLS and handshake together
    heartbeat_sec: float = Field(default=2.0, gt=0, le=600)  # from one heartbeat to the next
    heartbeat_timeout_sec: float = Field(default=1.5, gt=0, le=60)  # a pong that is later counts as silence
    longest_back_off_sec: float = Field(default=10.0, gt=0, le=3600)  # between two attempts to reach a silent cloud

    @field_validator("url")
    @classmethod
    def _leads_to_a_websocket(cls, url: str) -> str:
        if url:
            _check(url)
        return url.rstrip("/")

    @field_validator("key")
    @classmethod
    def _fits_into_a_header(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not _TOKEN.fullmatch(key.get_secret_value()):
            raise ValueError("expected a key of visible ASCII characters, got something else")
        return key

    @model_validator(mode="after")
    def _certificates_are_shown_where_there_is_tls(self) -> Self:
        if self.key_file is not None and self.certificate_file is None:
            raise ValueError("expected certificate_file beside key_file, got none")
        if self.certificate_file is not None and self.url.startswith("ws:"):
            raise ValueError("expected a URL that begins with wss:// where a certificate is shown, got ws://")
        return self

    @model_validator(mode="after")
    def _back_off_is_longer_than_the_heartbeat(self) -> Self:
        if self.longest_back_off_sec < self.heartbeat_sec:
            raise ValueError(
                f"expected longest_back_off_sec to be at least heartbeat_sec, {self.heartbeat_sec:g},"
                f" got {self.longest_back_off_sec:g}"
            )
        return self


def _check(url: str) -> None:
    """The address may hold a secret, so no error repeats more of it than its scheme."""
    parts = _split(url)
    if parts.scheme not in {"ws", "wss"}:
        raise ValueError(f"expected a URL that begins with ws:// or wss://, got {_scheme(url)}")
    if not parts.hostname:
        raise ValueError("expected a URL with a host, as in wss://cloud.example, got one without")
    if parts.username or parts.password:
        raise ValueError("expected a URL without a user or password: set the key instead")
    if parts.query or parts.fragment:
        raise ValueError("expected a URL without ? and #, got one with")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # it quotes the address
        raise ValueError("expected a URL with a host and a port, as in wss://cloud.example:8443, got none") from None
    return parts


def _scheme(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    return f"{scheme}://" if separator else "one without"
