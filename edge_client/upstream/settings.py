"""What the operator may set of the server that answers turns over the OpenAI Realtime protocol."""

from __future__ import annotations

from urllib.parse import SplitResult, urlencode, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

PATH = "/v1/realtime"
SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


class UpstreamSettings(BaseModel):
    """Which server that is, and how it is asked. Without a ``url`` there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = ""  # such as wss://api.openai.com, or http://127.0.0.1:8080 for another edge
    key: SecretStr = SecretStr("")
    model: str = ""  # empty: the server's own choice
    voice: str = ""  # empty: the server's own choice
    connect_timeout_sec: float = Field(default=3.0, gt=0, le=60)

    @field_validator("url")
    @classmethod
    def _can_be_called(cls, url: str) -> str:
        if url:
            _split(url)
        return url

    @property
    def address(self) -> str:
        """Where its WebSocket is: ``url`` may be the bare server, or end anywhere on the way to the route."""
        parts = _split(self.url)
        model = urlencode({"model": self.model}) if self.model else ""
        query = "&".join(part for part in (parts.query, model) if part)
        return urlunsplit((SCHEMES[parts.scheme], parts.netloc, _completed(parts.path.rstrip("/")), query, ""))


def _split(url: str) -> SplitResult:
    """Raises ValueError for what is no address. The message does not repeat it: keys are kept in some."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # it quotes the address
        raise ValueError("expected an address like wss://127.0.0.1:8080, got none") from None
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise ValueError(f"expected an address like wss://127.0.0.1:8080, got one with the scheme {parts.scheme!r}")
    return parts


def _completed(path: str) -> str:
    for known in (PATH, "/v1"):
        if path.endswith(known):
            return path.removesuffix(known) + PATH
    return path + PATH
