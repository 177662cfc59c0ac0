"""Quantiles of measurements, one way for all: each is one that was measured, the least that so many do not exceed."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple


class Quantiles(NamedTuple):
    """Of a handful of measurements."""

    median: float
    p90: float
    p95: float
    p99: float


class Tail(NamedTuple):
    """The middle and the end of many."""

    p50: float
    p95: float
    p99: float


def quantiles(values: Sequence[float]) -> Quantiles | None:
    """The quantiles of ``values``, or None where there are none."""
    return Quantiles(*_least(values, (50, 90, 95, 99))) if values else None


def tail_of(values: Sequence[float]) -> Tail | None:
    """Likewise, in the same unit."""
    return Tail(*_least(values, (50, 95, 99))) if values else None


def _least(values: Sequence[float], percents: Sequence[int]) -> list[float]:
    """For each of ``percents``, the smallest value with at least that share of all at or below it."""
    ordered = sorted(values)
    return [ordered[ceil(percent * len(ordered) / 100) - 1] for percent in percents]
