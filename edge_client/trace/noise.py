"""Whether two sets of measurements differ by more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

LEAST_MEASUREMENTS: Final = 8  # fewer on a side tell nothing of noise
RESAMPLES: Final = 2_000
CONFIDENCE: Final = 0.95
_SEED: Final = 20_260_101  # the same files give the same verdict


class Interval(NamedTuple):
    """Where a difference lies with 95 % confidence."""

    low: float
    high: float

    @property
    def is_beyond_noise(self) -> bool:
        return self.low > 0 or self.high < 0


def difference_of(before: Sequence[float], after: Sequence[float], *, level: float) -> Interval | None:
    """How far a quantile moved, by the percentile bootstrap of Efron (1979); None where there are too few values.

    Both sides are drawn again with replacement, 2000 times, and the quantile of each pair of draws is compared. Of a
    tail there must be values beyond it: at least 1 / (1 - level) measurements on each side.
    """
    least = max(LEAST_MEASUREMENTS, round(1 / (1 - level)))
    if min(len(before), len(after)) < least:
        return None
    chance = np.random.default_rng(_SEED)
    moved = _resampled(chance, after, level) - _resampled(chance, before, level)
    low, high = np.quantile(moved, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Interval(float(low), float(high))


def _resampled(chance: np.random.Generator, values: Sequence[float], level: float) -> NDArray[np.float64]:
    """The quantile of each draw, ``[RESAMPLES]``; a few at a time, for there may be many values."""
    measured = np.asarray(values, dtype=np.float64)
    at_once = max(1, 1_000_000 // len(measured))
    quantiles = [
        np.quantile(chance.choice(measured, (min(at_once, RESAMPLES - done), len(measured))), level, axis=1)
        for done in range(0, RESAMPLES, at_once)
    ]
    return np.concatenate(quantiles)
