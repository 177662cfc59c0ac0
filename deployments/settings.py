"""What an operator may say of the cloud tier: the ``args`` of a Serve configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from deployments.autoscaling import AutoscalingSettings
from deployments.model_settings import settings_of
from deployments.models import check_settings
from routing.telemetry.settings import TelemetrySettings


class Settings(BaseModel):
    """Frozen, and without room for what is not known; `deployments.model_settings.settings_of` words what is wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ReplicaSettings(Settings):
    """Those who answer. Each replica loads the model once and answers many turns at a time."""

    count: int = Field(default=1, ge=1, description="how many, where autoscaling is off")
    maximum_turns: int = Field(
        default=64, ge=1, description="turns that one replica keeps open, spoken to or speaking; more are refused"
    )
    cpus: float = Field(default=0.0, ge=0, description="cores that Ray reserves for each; 0 reserves none")
    gpus: float = Field(default=0.0, ge=0, description="GPUs, likewise")
    drain_sec: float = Field(default=60.0, gt=0, description="how long turns in flight may take when it must go")
    health_check_sec: float = Field(default=5.0, gt=0, description="between two looks whether it is stuck")


class IngressSettings(Settings):
    """The door. Several may stand side by side; they share nothing."""

    count: int = Field(default=1, ge=1)
    keys: tuple[SecretStr, ...] = Field(
        default=(), description="who may come in: bearer tokens; without them and without a file everybody may"
    )
    keys_file: Path | None = Field(
        default=None, description="more of them, one in a line, which Ray does not show; read again when it changes"
    )
    reserve_sec: float = Field(default=0.5, gt=0, description="how long a place at a replica may take to get")
    welcome_sec: float = Field(default=2.0, gt=0, description="how long a replica may take to welcome a turn")
    open_sec: float = Field(default=5.0, gt=0, description="how long a connection may take to say what it wants")
    idle_sec: float = Field(default=30.0, gt=0, description="how long a speaking caller may send nothing")
    replicas_tried: int = Field(default=3, ge=1, description="for one turn, where one after the other fails")
    load_every_sec: float = Field(default=1.0, gt=0, description="between two looks at how full the replicas are")


class AppSettings(Settings):
    """The whole application."""

    model: str = Field(default="cascade", description="cascade, lfm2-audio, or your own as package.module:function")
    model_settings: dict[str, Any] = Field(default_factory=dict, description="what that model can be told")
    replicas: ReplicaSettings = ReplicaSettings()
    ingress: IngressSettings = IngressSettings()
    autoscaling: AutoscalingSettings | None = Field(default=None, description="none: the number stays")
    telemetry: TelemetrySettings = Field(
        default=TelemetrySettings(), description="where the traces of its processes go; relative to where Ray runs"
    )


def checked(args: Mapping[str, Any]) -> AppSettings:
    """The settings of the application, and of its model too: wrong ones are told before any replica starts.

    Raises:
        SettingsError: one of them or of the model's own is unknown or wrong, or there is no such model.
    """
    settings = settings_of(AppSettings, args)
    check_settings(settings.model, settings.model_settings)
    return settings
