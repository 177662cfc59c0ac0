"""Median, p90, p95 and p99 of a handful of measurements."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple


class Quantiles(NamedTuple):
    """Every figure is one that was measured: the smallest with at least that share of all at or below it."""

    median: float
    p90: float
    p95: float
    p99: float


def quantiles(values: Sequence[float]) -> Quantiles | None:
    """The quantiles of ``values``, or None where there are none."""
    ordered = sorted(values)
    if not ordered:
        return None
    return Quantiles(*(ordered[ceil(percent * len(ordered) / 100) - 1] for percent in (50, 90, 95, 99)))
