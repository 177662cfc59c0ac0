"""Who may speak, and from when on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from routing.policy import Choice


class Race:
    """Runners in order of preference. Each may speak from its own moment on, or as soon as all before it are out.

    Moments are seconds on one clock; ``began_at`` is when the race did.
    """

    def __init__(self, moments: Iterable[tuple[str, float]], *, began_at: float) -> None:
        self.began_at = began_at
        self._moments: dict[str, float] = {}
        for name, moment in moments:
            self._moments.setdefault(name, moment)

    @classmethod
    def by(cls, choice: Choice, names: Sequence[str], *, now: float) -> Race:
        """The chosen ones; the others of ``names`` only where both fail. Those who are not in ``names`` do not run."""
        chosen = [(choice.first, now)]
        if choice.second is not None:
            chosen.append((choice.second, now + choice.patience_sec))
        moments = chosen + [(name, math.inf) for name in names]
        return cls([(name, moment) for name, moment in moments if name in names], began_at=now)

    @classmethod
    def staggered(cls, names: Iterable[str], *, every_sec: float, now: float) -> Race:
        """One after the other."""
        return cls([(name, now + place * every_sec) for place, name in enumerate(names)], began_at=now)

    def allowed(self, now: float) -> list[str]:
        """Who may speak now; the first of them that is ready should."""
        leader = next(iter(self._moments), None)
        return [name for name, moment in self._moments.items() if moment <= now or name == leader]

    def drop(self, name: str) -> None:
        """It is out."""
        self._moments.pop(name, None)

    @property
    def is_lost(self) -> bool:
        return not self._moments

    @property
    def is_walkover(self) -> bool:
        """Whether only one is left."""
        return len(self._moments) == 1

    def next_moment(self, now: float) -> float:
        """When somebody else may speak; infinite where only a failure brings that."""
        return min((moment for moment in list(self._moments.values())[1:] if moment > now), default=math.inf)
