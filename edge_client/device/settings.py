"""What the operator may set of the device backend."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _split(value: Any) -> Any:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


class DeviceSettings(BaseModel):
    """How the device answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    skills: Annotated[tuple[str, ...], BeforeValidator(_split)] = ()  # modules, such as "my_package.my_skills"
    skill_likeness: float = Field(default=0.55, ge=0, le=1)  # how near a request must lie to a skill's example
