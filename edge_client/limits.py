"""How much of an edge one caller may have."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class LimitSettings(BaseModel):
    """Limits of one address, of one key, and of one session. 0 is no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_minute: float = Field(default=600.0, ge=0)  # of one address, and of one key: calls, sessions, secrets
    sessions_per_address: int = Field(default=0, ge=0)  # at the same time
    sessions_per_key: int = Field(default=0, ge=0)
    events_per_sec: float = Field(default=200.0, ge=0)  # of one session, sound not counted
    longest_session_sec: float = Field(default=0.0, ge=0)
    idle_sec: float = Field(default=0.0, ge=0)  # in which nothing was said or asked for
    head_sec: float = Field(default=10.0, ge=0)  # for the head of a request to come
