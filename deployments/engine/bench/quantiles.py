"""Median, p95 and p99 of what was measured."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from typing import NamedTuple


class Quantiles(NamedTuple):
    """Each is a value that was measured: the smallest with at least that share of all at or below it."""

    p50: float
    p95: float
    p99: float


def quantiles(values: Iterable[float]) -> Quantiles:
    ordered = sorted(values)
    return Quantiles(*(ordered[ceil(percent * len(ordered) / 100) - 1] for percent in (50, 95, 99)))
