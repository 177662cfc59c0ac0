"""How many sessions there are at which time of the day, and what goes wrong at which."""

from __future__ import annotations

from math import floor
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

HOURS = 24
OFFICE_DAY = (
    *(0.30, 0.24, 0.20, 0.18, 0.18, 0.22, 0.32, 0.50, 0.72, 0.88, 0.96, 1.00),
    *(0.94, 0.92, 0.97, 0.98, 0.95, 0.90, 0.84, 0.78, 0.70, 0.60, 0.48, 0.38),
)


class Burst(BaseModel):
    """Many call within a short time, beside those who call anyway."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    hour: float = Field(ge=0, lt=HOURS, description="of the day, when it begins")
    share: float = Field(gt=0, description="how many, as a share of the sessions at the busiest time")
    within_sec: float = Field(default=60.0, gt=0, description="over how long their calls begin; not compressed")


class Incident(BaseModel):
    """A node or a zone is gone from one moment to the next."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    hour: float = Field(ge=0, lt=HOURS)
    replicas: float = Field(default=0.0, ge=0, le=1, description="share of them that dies")
    gateways: float = Field(default=0.0, ge=0, le=1, description="likewise")


class DaySettings(BaseModel):
    """A day, and in how much time it is played."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # Assumed: a day of offices, by the hour, as shares of the sessions at the busiest time.
    hours: tuple[float, ...] = OFFICE_DAY
    # 86400 plays a day as it is. In less, load rises and falls so much faster than it will, and autoscaling has a
    # harder time; bursts, turns, cold starts and repairs take as long as ever.
    played_sec: float = Field(default=6000.0, gt=0)
    bursts: tuple[Burst, ...] = (Burst(hour=15.0, share=0.25),)  # assumed
    incidents: tuple[Incident, ...] = (Incident(hour=12.0, replicas=0.1, gateways=0.1),)  # assumed
    upgrades: tuple[float, ...] = (20.0,)  # hours at which all replicas are replaced by those of a new version

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.hours) != HOURS or min(self.hours, default=-1) < 0 or max(self.hours, default=0) <= 0:
            raise ValueError(f"expected {HOURS} shares from 0 up, one for each hour, got {self.hours}")
        if not all(0 <= hour < HOURS for hour in self.upgrades):
            raise ValueError(f"expected upgrades at hours from 0 to {HOURS}, got {self.upgrades}")
        return self

    @property
    def speed(self) -> float:
        """Seconds of the day that are played in one."""
        return HOURS * 3600 / self.played_sec

    def second_of(self, hour: float) -> float:
        """When an hour of the day comes, in played seconds."""
        return hour * 3600 / self.speed

    def hour_at(self, second: float) -> float:
        """The inverse of `second_of`; after the day comes the next."""
        return second * self.speed / 3600 % HOURS


def share_at(hours: tuple[float, ...], hour: float) -> float:
    """The share of the busiest time's sessions at an hour of the day, straight from each hour to the next."""
    before = floor(hour) % HOURS
    after, fraction = (before + 1) % HOURS, hour - floor(hour)
    return (hours[before] * (1 - fraction) + hours[after] * fraction) / max(hours)
