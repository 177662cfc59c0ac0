"""What an operator may say of the cloud tier: the ``args`` of a Serve configuration."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from deployments.autoscaling import AutoscalingSettings


class Settings(BaseModel):
    """Frozen, and a name that is not known is refused together with the one that may be meant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _name_the_nearest(cls, given: Any) -> Any:
        if isinstance(given, Mapping):
            for name in given:
                if name not in cls.model_fields:
                    raise ValueError(_unknown(str(name), list(cls.model_fields)))
        return given


def _unknown(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1)
    meant = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
    return f"there is no setting {name!r}: {meant}"


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
    keys: tuple[str, ...] = Field(default=(), description="who may come in: bearer tokens; none lets everybody in")
    reserve_sec: float = Field(default=0.5, gt=0, description="how long a place at a replica may take to get")
    open_sec: float = Field(default=5.0, gt=0, description="how long a connection may take to say what it wants")
    idle_sec: float = Field(default=30.0, gt=0, description="how long a speaking caller may send nothing")
    replicas_tried: int = Field(default=3, ge=1, description="for one turn, where one after the other fails")
    load_every_sec: float = Field(default=1.0, gt=0, description="between two looks at how full the replicas are")


class ScalingSettings(Settings, AutoscalingSettings):
    """When replicas come and go."""


class AppSettings(Settings):
    """The whole application."""

    model: str = Field(default="cascade", description="cascade, lfm2-audio, or your own as package.module:function")
    model_settings: dict[str, Any] = Field(default_factory=dict, description="what that model can be told")
    replicas: ReplicaSettings = ReplicaSettings()
    ingress: IngressSettings = IngressSettings()
    autoscaling: ScalingSettings | None = Field(default=None, description="none: the number stays")
