"""The edge's settings: a YAML file, over it environment variables, over those what the command line says.

Every field can be set as ``ANTIPHON_<FIELD>``, those inside a part as ``ANTIPHON_<PART>__<FIELD>``:
``ANTIPHON_PORT=9000``, ``ANTIPHON_TURN_TAKING__COMPLETE_HOLD_MS=320``, ``ANTIPHON_API_KEYS=key-one,key-two``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from edge_client.cloud.settings import CloudSettings
from edge_client.comma_separated import CommaSeparated
from edge_client.device.settings import DeviceSettings
from edge_client.endpointer import EndpointerSettings
from edge_client.limits import LimitSettings
from edge_client.tls import TlsSettings
from edge_client.trace_file import kept
from edge_client.traits import TraitsSettings
from edge_client.upstream.settings import UpstreamSettings
from edge_client.webrtc.peer import PeerSettings
from routing.errors import SettingsError
from routing.settings import RoutingSettings
from routing.telemetry.settings import TelemetrySettings
from routing.turns import Privacy

PREFIX = "ANTIPHON_"
READ_ELSEWHERE = {"ANTIPHON_MODELS", "ANTIPHON_LOG_FORMAT"}  # they belong to every command, not only to the edge


def _network(network: str) -> str:
    return str(ipaddress.ip_network(network))


type Networks = CommaSeparated[Annotated[str, AfterValidator(_network)]]


class EdgeSettings(BaseModel):
    """Everything the edge can be told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)  # 0: any free one
    api_keys: CommaSeparated[SecretStr] = ()  # none: development mode, loopback only
    api_keys_file: Path | None = None  # more of them, one in a line; read again when it changes
    signing_keys_file: Path | None = None  # of client secrets, one in a line: the first signs, all are believed
    allowed_origins: CommaSeparated[str] = ()  # of pages elsewhere that may call; loopback always may in development
    trusted_proxies: Networks = ()  # networks of proxies that are believed whom they speak for
    tls: TlsSettings = TlsSettings()
    limits: LimitSettings = LimitSettings()
    drain_sec: float = Field(default=0.0, ge=0)  # after SIGTERM, for callers to go on elsewhere; 0: hang up at once
    maximum_sessions: int = Field(default=16, ge=1)  # of all workers together
    workers: int = Field(default=1, ge=1, le=64)  # processes behind the one port, each with models of its own
    engine: Literal["device", "tone"] = "device"  # what answers: this machine's models, or a tone at once
    privacy: Privacy = "any"  # "device_only": what is said never leaves this machine, whatever a caller allows
    chunk_ms: int = Field(default=80, ge=20, le=200)
    turn_taking: EndpointerSettings = EndpointerSettings()
    device: DeviceSettings = DeviceSettings()
    routing: RoutingSettings = RoutingSettings()
    cloud: CloudSettings = CloudSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    traits: TraitsSettings = TraitsSettings()
    records: str = ""  # a file to which what became of each turn's placement is appended; none where it is empty
    telemetry: TelemetrySettings = TelemetrySettings()
    peer: PeerSettings = PeerSettings()

    @model_validator(mode="after")
    def _development_stays_on_loopback(self) -> Self:
        if self.development and not self.on_loopback:
            raise ValueError(
                f"expected a loopback host while there are no API keys, got {self.host!r}:"
                " set ANTIPHON_API_KEYS, or use 127.0.0.1"
            )
        return self

    @model_validator(mode="after")
    def _every_worker_has_a_place(self) -> Self:
        if self.workers > self.maximum_sessions:
            raise ValueError(
                f"expected at most as many workers as sessions, {self.maximum_sessions}, got {self.workers}"
            )
        return self

    @model_validator(mode="after")
    def _workers_see_what_is_asked(self) -> Self:
        if self.workers > 1 and self.tls.certificate_file is not None:
            raise ValueError(
                f"expected one worker with a certificate of its own, got {self.workers}: what is encrypted cannot be"
                " passed between workers. Let a proxy in front encrypt, or run several edges of one worker each"
            )
        return self

    @property
    def development(self) -> bool:
        """Whether anybody who reaches the edge may use it."""
        return not self.api_keys and self.api_keys_file is None

    @property
    def on_loopback(self) -> bool:
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def read_settings(file: Path | None = None, *, environment: Mapping[str, str], **arguments: Any) -> EdgeSettings:
    """The settings from ``file``, ``environment``, and those ``arguments`` that are not None.

    Raises:
        SettingsError: the file cannot be read, or a setting is unknown or wrong.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        return EdgeSettings.model_validate(_overlaid(_overlaid(_from_file(file), _from(environment)), given))
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None


def keeping_traces(settings: EdgeSettings, environment: Mapping[str, str]) -> EdgeSettings:
    """For programs that run an edge: traces go to a file of its own unless somebody has said where."""
    return settings.model_copy(update={"telemetry": kept(settings.telemetry, environment)})


def _from_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        content = yaml.safe_load(file.read_text("utf-8")) or {}
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{file}: {error}") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{file}: expected a mapping of settings, got {type(content).__name__}")
    return content


def _from(environment: Mapping[str, str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name, value in environment.items():
        if name.startswith(PREFIX) and name not in READ_ELSEWHERE:
            *parts, field = name.removeprefix(PREFIX).lower().split("__")
            place = settings
            for part in parts:
                place = place.setdefault(part, {})
                if not isinstance(place, dict):
                    raise SettingsError(f"{name}: expected {part} to have parts, but it is set as a whole")
            place[field] = value
    return settings


def _overlaid(lower: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
    shared = lower.keys() & upper.keys()
    both = {name for name in shared if isinstance(lower[name], dict) and isinstance(upper[name], dict)}
    return lower | upper | {name: _overlaid(lower[name], upper[name]) for name in both}


def _explain(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'settings'}: {_worded(fault)}" for fault in faults)


def _worded(fault: ErrorDetails) -> str:
    if fault["type"] == "extra_forbidden":
        return "there is no such setting, neither for the file nor for the environment"
    return fault["msg"].removeprefix("Value error, ")
