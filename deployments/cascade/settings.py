"""What can be set of a cascade, with its defaults."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from edge_client.device.settings import DeviceSettings


class CascadeSettings(DeviceSettings):
    """The device's models behind the cloud: how they answer, as on a device, and how many they answer at once."""

    models: Path | None = Field(default=None, description="the folder of the models; else ANTIPHON_MODELS says where")
    slots: int = Field(default=4, ge=1, le=64, description="replies at once; further ones are refused")
    maximum_batch: int = Field(default=16, ge=1, le=64, description="turns whose texts are embedded together")
    longest_wait_ms: float = Field(
        default=2.0, ge=0, le=50, description="for company, while the model has no time to spare"
    )
    stuck_after_sec: float = Field(default=30.0, gt=0, description="a call of a model that takes longer will not end")
