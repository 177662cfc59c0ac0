"""What the operator may set of the device backend."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class DeviceSettings(BaseModel):
    """How the device answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    skills: tuple[str, ...] = ()  # Python modules with more skills, for example "my_package.my_skills"
