"""How much of an edge one caller may have."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class LimitSettings(BaseModel):
    """Limits of one address, of one key, and of one session. 0 is no limit.

    An address is one of IPv4, or a /64 of IPv6. Those of addresses and keys do not hold in development mode, where only
    this machine calls. Of several workers each has its share of the edge's limits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_minute: float = Field(default=600.0, ge=0)  # of one address, of one key, and of one client secret
    requests_at_once: int = Field(default=100, ge=1)  # as many may be saved up; a wrong key costs ten
    sessions_per_address: int = Field(default=0, ge=0)  # at the same time
    sessions_per_key: int = Field(default=0, ge=0)  # likewise, with those of the client secrets made with it
    connecting_per_address: int = Field(default=16, ge=0)  # calls that were answered and have no sound yet
    silent_per_address: int = Field(default=64, ge=0)  # connections on which nothing was asked yet
    events_per_sec: float = Field(default=200.0, ge=0)  # of one session, sound not counted
    longest_session_sec: float = Field(default=0.0, ge=0)
    idle_sec: float = Field(default=0.0, ge=0)  # in which nothing was said, asked for or played
    head_sec: float = Field(default=10.0, ge=0)  # for the head of a request to come
