"""Whether quantiles moved by more than chance."""

from __future__ import annotations

import numpy as np
import pytest

from edge_client.trace.noise import difference_of


def test_a_shift_is_beyond_noise_and_its_interval_holds_it() -> None:
    chance = np.random.default_rng(1)
    before, after = list(chance.normal(200, 10, 60)), list(chance.normal(250, 10, 60))
    interval = difference_of(before, after, level=0.5)
    assert interval is not None
    assert interval.is_beyond_noise
    assert interval.low < 50 < interval.high


def test_two_runs_of_the_same_rarely_differ() -> None:
    chance = np.random.default_rng(2)
    pairs = [(list(chance.gamma(4, 50, 40)), list(chance.gamma(4, 50, 40))) for _ in range(8)]
    marked = [
        interval.is_beyond_noise
        for before, after in pairs
        if (interval := difference_of(before, after, level=0.5)) is not None
    ]
    assert len(marked) == 8
    assert sum(marked) <= 2


@pytest.mark.parametrize(("turns", "level", "known"), [(7, 0.5, False), (8, 0.5, True), (19, 0.95, False)])
def test_few_turns_tell_nothing(turns: int, level: float, known: bool) -> None:
    assert (difference_of([1.0] * turns, [2.0] * turns, level=level) is not None) == known
