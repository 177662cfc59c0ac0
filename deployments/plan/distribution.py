"""Lengths and waits as people give them: what half of all stay below, and what 95 of 100 stay below."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import exp, log
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

P95 = 1.6448536269514722  # standard deviations of a normal distribution
DRAWN_AT_ONCE = 4096

type Draw = Callable[[int], NDArray[np.float64]]


class Lognormal(BaseModel):
    """A skewed length: most are short, few are long. Both in seconds; where they are equal, all are."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    median: float = Field(ge=0)
    p95: float = Field(ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.p95 < self.median:
            raise ValueError(f"expected a p95 of at least the median ({self.median:g}), got {self.p95:g}")
        if self.p95 > self.median == 0:
            raise ValueError(f"expected a median above 0 where p95 is, got a p95 of {self.p95:g}")
        return self

    @property
    def mean(self) -> float:
        return self.median * exp(self._sigma**2 / 2)

    @property
    def _sigma(self) -> float:
        return log(self.p95 / self.median) / P95 if self.median else 0.0

    def draws(self, chance: np.random.Generator) -> Iterator[float]:
        """One after the other, without end."""
        if not self._sigma:
            return _in_blocks(lambda count: np.full(count, self.median))
        return _in_blocks(lambda count: chance.lognormal(log(self.median), self._sigma, count))


def exponential(mean: float, chance: np.random.Generator) -> Iterator[float]:
    """Gaps between what happens independently, without end."""
    return _in_blocks(lambda count: chance.exponential(mean, count))


def uniform(chance: np.random.Generator) -> Iterator[float]:
    """Between 0 and 1, without end."""
    return _in_blocks(chance.random)


def _in_blocks(draw: Draw) -> Iterator[float]:
    while True:
        yield from draw(DRAWN_AT_ONCE).tolist()
