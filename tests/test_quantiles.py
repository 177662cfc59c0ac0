"""Quantiles of measurements."""

from __future__ import annotations

from edge_client.quantiles import Quantiles, Tail, quantiles, tail_of


def test_quantiles_are_values_that_were_measured() -> None:
    assert tail_of(list(range(1, 101))) == Tail(50, 95, 99)
    assert tail_of([7.0]) == Tail(7, 7, 7)
    assert tail_of([]) is None


def test_a_handful_has_them_too() -> None:
    assert quantiles([3.0, 1.0, 2.0]) == Quantiles(2.0, 3.0, 3.0, 3.0)
    assert quantiles([]) is None
