"""How turns are placed, as far as somebody may want it otherwise."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from routing.policy import PolicyName


class RoutingSettings(BaseModel):
    """All waits are in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: PolicyName = "hedged"
    words_patience_sec: float = Field(
        default=0.5, ge=0
    )  # after a turn's end, for the words that the device writes down
    longest_patience_sec: float = Field(default=10.0, gt=0)  # with one who was asked and says nothing
    stall_patience_sec: float = Field(default=0.5, gt=0)  # of silence within a reply, until another one goes on
    held_events: int = Field(default=256, ge=8)  # of each answer, read ahead of the caller; beyond, its backend waits
    held_sec: float = Field(default=8.0, ge=0.5)  # the same in seconds of sound
