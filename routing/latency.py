"""How long things take, learned while they happen: quantiles in which the past counts less and less.

Every method takes ``now``, in seconds on any clock that only goes forward.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)

_LAST_LEVEL = LEVELS[-1]
_RAREST = 1.0 - _LAST_LEVEL
_LEAST_TAIL = 0.1  # of the last value: nothing is ever certain to have come


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution of seconds, by its quantiles at `LEVELS`, in ascending order; between them it is straight.

    Below the first level it is that level's value. Beyond the last it is an exponential: what is ten times rarer
    comes as much later as the 99th percentile does after the 90th, and at least a tenth of the 99th.
    """

    values: tuple[float, ...]

    def quantile(self, level: float) -> float:
        """The seconds within which it comes so often; ``level`` is from 0 to below 1."""
        if level > _LAST_LEVEL:
            return self.values[-1] + self._tail_sec * math.log10(_RAREST / max(1.0 - level, 1e-9))
        return _between(LEVELS, self.values, level)

    def probability_within(self, seconds: float) -> float:
        """How likely it takes at most so long."""
        if seconds < self.values[0]:
            return 0.0
        if seconds < self.values[-1]:
            return _between(self.values, LEVELS, seconds)
        tail_sec = self._tail_sec
        return 1.0 - _RAREST * 10.0 ** -((seconds - self.values[-1]) / tail_sec) if tail_sec else 1.0

    def after(self, waited_sec: float) -> Distribution:
        """What remains to be waited, if it has not come within ``waited_sec``: the longer that was, the longer."""
        if waited_sec < self.values[0]:
            return self.shifted(-waited_sec)
        if waited_sec >= self.values[-1]:
            tail_sec = max(self._tail_sec, _LEAST_TAIL * waited_sec) if self.values[-1] else 0.0
            return Distribution(tuple([tail_sec * rarity for rarity in _RARITIES]))
        past = self.probability_within(waited_sec)
        left = 1.0 - past
        return Distribution(tuple(max(self.quantile(past + level * left) - waited_sec, 0.0) for level in LEVELS))

    def shifted(self, seconds: float) -> Distribution:
        """All of it so much later (or, where negative, earlier)."""
        return Distribution(tuple([value + seconds for value in self.values]))

    def scaled(self, factor: float) -> Distribution:
        """All of it so many times as long."""
        return Distribution(tuple([value * factor for value in self.values]))

    @property
    def median(self) -> float:
        return self.values[3]

    @property
    def _tail_sec(self) -> float:
        """How much later something comes that is ten times rarer than the last level."""
        return max(self.values[-1] - self.values[5], self.values[-1] * _LEAST_TAIL)

    @classmethod
    def of(cls, values: Sequence[float]) -> Distribution:
        """The distribution of what was seen, in any order.

        Raises:
            ValueError: nothing was seen.
        """
        if not values:
            raise ValueError("expected at least one value to make a distribution of, got none")
        ordered = sorted(values)
        places = [index / max(len(ordered) - 1, 1) for index in range(len(ordered))]
        return cls(tuple(_between(places, ordered, level) for level in LEVELS))

    @classmethod
    def exactly(cls, seconds: float) -> Distribution:
        """It takes so long, as far as anybody knows."""
        return cls((seconds,) * len(LEVELS))


_RARITIES = tuple(-math.log10(1.0 - level) for level in LEVELS)


def _between(given: Sequence[float], wanted: Sequence[float], place: float) -> float:
    """What of ``wanted`` belongs to ``place`` among ``given``, both ascending; the ends are never left."""
    above = bisect_right(given, place)
    if above == 0:
        return wanted[0]
    if above == len(given):
        return wanted[-1]
    low, high = given[above - 1], given[above]
    return wanted[above - 1] + (wanted[above] - wanted[above - 1]) * (place - low) / (high - low)


def faded(age_sec: float, half_life_sec: float) -> float:
    """What is left after so long of something of which half is forgotten after each half-life."""
    return math.exp2(-max(age_sec, 0.0) / half_life_sec)


@dataclass(slots=True)
class DecayedSum:
    """A sum in which half of what was added is forgotten after ``half_life_sec``."""

    half_life_sec: float
    _total: float = 0.0
    _at: float = 0.0

    def add(self, amount: float, now: float) -> None:
        self._total = self.at(now) + amount
        self._at = now

    def at(self, now: float) -> float:
        return self._total * faded(now - self._at, self.half_life_sec)


@dataclass(slots=True)
class DecayedMean:
    """A mean in which what is ``half_life_sec`` old counts half; ``start`` until something was seen."""

    half_life_sec: float
    start: float = 0.0
    _weight: float = 0.0
    _total: float = 0.0
    _at: float = 0.0

    def add(self, value: float, now: float, weight: float = 1.0) -> None:
        kept = faded(now - self._at, self.half_life_sec)
        self._weight = self._weight * kept + weight
        self._total = self._total * kept + value * weight
        self._at = now

    @property
    def value(self) -> float:
        return self._total / self._weight if self._weight > 0.0 else self.start

    def evidence(self, now: float) -> float:
        """How many values it stands on, older ones counting less."""
        return self._weight * faded(now - self._at, self.half_life_sec)


class Sighting(NamedTuple):
    """Something that took ``value``, or, where ``is_bound``, would have taken more; it counts by its ``weight``."""

    value: float
    is_bound: bool  # of equals, what was seen to its end comes first
    weight: float


def quantiles(sightings: Iterable[Sighting], *, beyond: float) -> tuple[float, ...]:
    """The quantiles at `LEVELS` of values of which some are only known to be larger than something.

    The product-limit estimator (Kaplan and Meier, "Nonparametric estimation from incomplete observations", 1958): each
    bound passes its weight on to all that is larger. A value stands in the middle of the probability that it takes,
    as in Hazen's rule: else, of few values, the smallest and the largest would be taken for rarer than they are.

    Args:
        beyond: how much larger those are, on average, that were larger than everything seen

    Raises:
        ValueError: there are none.
    """
    ordered = sorted(sightings)
    if not ordered:
        raise ValueError("expected at least one sighting, got none")
    places: list[float] = []
    values: list[float] = []
    at_risk = sum(seen.weight for seen in ordered)
    survival = 1.0
    for value, is_bound, weight in ordered:
        if not is_bound:
            taken = survival * min(weight / at_risk, 1.0)
            places.append(1.0 - survival + taken / 2)
            values.append(value)
            survival -= taken
        at_risk = max(at_risk - weight, 1e-300)
    return _at_levels(places, values, _Beyond(ordered[-1].value, survival, beyond))


class _Beyond(NamedTuple):
    """The last ``survival`` of all probability, which is beyond the ``largest`` value by ``mean`` on average."""

    largest: float
    survival: float
    mean: float


def _at_levels(places: list[float], values: list[float], beyond: _Beyond) -> tuple[float, ...]:
    found = []
    for level in LEVELS:
        if beyond.survival > 1e-6 and 1.0 - level < beyond.survival:
            found.append(beyond.largest + beyond.mean * math.log(beyond.survival / (1.0 - level)))
        else:
            found.append(_between(places, values, level) if values else beyond.largest)
    return tuple(found)
