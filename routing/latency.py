"""How long things take, learned while they happen: quantiles in which the past counts less and less.

Every method takes ``now``, in seconds on any clock that only goes forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution of seconds, by its quantiles at `LEVELS`, in ascending order; between them it is straight."""

    values: tuple[float, ...]

    def quantile(self, level: float) -> float:
        raise NotImplementedError

    def probability_within(self, seconds: float) -> float:
        """How likely it takes at most so long."""
        raise NotImplementedError

    def after(self, waited_sec: float) -> Distribution:
        """What remains to be waited, if it has not come within ``waited_sec``."""
        raise NotImplementedError

    @classmethod
    def of(cls, values: Sequence[float]) -> Distribution:
        raise NotImplementedError
