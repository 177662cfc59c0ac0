"""What the operator may set of traces and metrics. By default they stay in this process."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

WANTED = "expected the address of a collector like http://127.0.0.1:4318"


class TelemetrySettings(BaseModel):
    """Where spans and metrics go.

    A collector's key belongs into the environment variable OTEL_EXPORTER_OTLP_HEADERS, and what an operator wants to
    have said of this place (a cluster, a pod) into OTEL_RESOURCE_ATTRIBUTES.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    enabled: bool = True  # false: nothing is noted or counted, and the page has no traces to show
    file: str | None = None  # JSON lines of OTLP, an export a line; "": none; null: an edge has its own, a cloud none
    file_mebibytes: int = Field(default=64, ge=1, le=65_536)  # then the file becomes <file>.1 and begins anew
    endpoint: str = ""  # OTLP over HTTP for traces and metrics, such as http://127.0.0.1:4318; none where it is empty
    content: bool = False  # also what was said and answered. Leave it off
    metrics_open: bool = False  # whoever reaches the edge may read its metrics, without the operator's key

    @field_validator("endpoint")
    @classmethod
    def _can_be_reached(cls, endpoint: str) -> str:
        if not endpoint:
            return endpoint
        parts = _split(endpoint)
        if parts.scheme not in {"http", "https"}:
            raise ValueError(f"{WANTED}, got one with the scheme {parts.scheme!r}")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError(f"{WANTED}; a key belongs into OTEL_EXPORTER_OTLP_HEADERS")
        return endpoint.rstrip("/")

    def address(self, signal: str) -> str:
        """Where "traces" or "metrics" are posted to. ``endpoint`` may name the route of traces itself."""
        return f"{self.endpoint.removesuffix('/v1/traces')}/v1/{signal}"


def _split(url: str) -> SplitResult:
    """Raises ValueError for what is no address. The message does not repeat it: keys are kept in some."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # it quotes the address
        raise ValueError(f"{WANTED}, got none") from None
    if not parts.hostname:
        raise ValueError(f"{WANTED}, got none")
    return parts
