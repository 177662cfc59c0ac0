"""Who may answer turns."""

from __future__ import annotations

from dataclasses import dataclass

from routing.outlook import Outlook
from routing.policy import Traits
from routing.turns import Backend

HERE = Traits(is_remote=False)


@dataclass(frozen=True, slots=True)
class Contender:
    """A backend, and what is known of it. The outlook has the backend's name, and is fed on the event loop's clock."""

    backend: Backend
    outlook: Outlook

    @classmethod
    def here(cls, backend: Backend) -> Contender:
        """One on this machine, of which nothing is known yet."""
        return cls(backend, Outlook(backend.name, HERE))

    @property
    def name(self) -> str:
        return self.backend.name

    @property
    def traits(self) -> Traits:
        return self.outlook.traits
