"""What the operator knows of the backends that are not this machine, and nobody can measure."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from edge_client.comma_separated import CommaSeparated
from routing.policy import Traits


class BackendTraits(BaseModel):
    """What one of them is like, compared with the device's own models."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    quality_ms: float = Field(default=150.0, ge=0)  # how much longer its better answers are worth waiting for
    cost_ms: float = Field(default=0.0, ge=0)  # how much sooner it must answer to be worth its price
    tools: bool = True  # calls the caller's functions
    scripts: bool = True  # says a given text to the letter
    knowledge: bool = True  # may be asked what only a larger model knows
    long_answers: bool = True
    languages: CommaSeparated[str] = ()  # those that it understands, as "en"; none: all

    def traits(self) -> Traits:
        """The same in the router's words."""
        return Traits(
            is_remote=True,
            quality_sec=self.quality_ms / 1000,
            cost_sec=self.cost_ms / 1000,
            tools=self.tools,
            scripts=self.scripts,
            knowledge=self.knowledge,
            long_answers=self.long_answers,
            languages=frozenset(self.languages) or None,
        )


class TraitsSettings(BaseModel):
    """One part per backend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cloud: BackendTraits = BackendTraits()
    upstream: BackendTraits = BackendTraits(scripts=False)
