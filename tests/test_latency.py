"""Distributions of seconds, and how what was seen long ago counts less."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.latency import LEVELS, DecayedMean, DecayedSum, Distribution, Sighting, quantiles

ANSWERS = Distribution((0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.0, 2.0))

distributions = st.lists(st.floats(0.0, 30.0), min_size=8, max_size=8).map(
    lambda values: Distribution(tuple(sorted(values)))
)


def exact(values: list[float], weight: float = 1.0) -> list[Sighting]:
    return [Sighting(value, is_bound=False, weight=weight) for value in values]


def test_between_the_levels_a_distribution_is_straight() -> None:
    assert ANSWERS.quantile(0.5) == ANSWERS.median == 0.3
    assert ANSWERS.quantile(0.7) == pytest.approx(0.46)
    assert ANSWERS.probability_within(0.46) == pytest.approx(0.7)


def test_nothing_comes_before_the_first_level_and_little_after_the_last() -> None:
    assert ANSWERS.quantile(0.0) == 0.1
    assert ANSWERS.probability_within(0.05) == 0.0
    assert ANSWERS.quantile(0.999) == pytest.approx(2.0 + (2.0 - 0.8))
    assert ANSWERS.probability_within(3.2) == pytest.approx(0.999)


def test_an_answer_that_is_here_at_once_takes_no_time() -> None:
    at_once = Distribution.exactly(0.0)
    assert at_once.probability_within(0.0) == 1.0
    assert at_once.after(0.5) == at_once


def test_what_has_not_come_yet_takes_longer_than_it_was_thought_to() -> None:
    left = ANSWERS.after(0.8)  # one in ten takes longer than this
    assert left.median == pytest.approx(0.2)
    assert left.quantile(0.9) == pytest.approx(1.2)
    assert ANSWERS.after(0.05).median == pytest.approx(0.25)


def test_what_is_long_overdue_is_not_expected_in_a_moment() -> None:
    assert ANSWERS.after(10.0).median > 0.3
    assert Distribution.exactly(0.5).after(2.0).median > 0.0


def test_a_distribution_is_made_of_what_was_seen() -> None:
    seen = Distribution.of([index / 100 for index in range(101)])
    assert seen.values == pytest.approx(LEVELS)
    assert Distribution.of([0.7]) == Distribution.exactly(0.7)
    with pytest.raises(ValueError, match="at least one value"):
        Distribution.of([])


@given(distributions, st.floats(0.0, 40.0))
def test_waiting_never_makes_time_run_backwards(distribution: Distribution, waited_sec: float) -> None:
    left = distribution.after(waited_sec).values
    assert all(value >= 0.0 for value in left)
    assert list(left) == pytest.approx(sorted(left))


@given(distributions, st.floats(0.0, 0.9999))
def test_a_quantile_is_reached_as_often_as_it_says(distribution: Distribution, level: float) -> None:
    assert distribution.probability_within(distribution.quantile(level) + 1e-9) >= level - 1e-6


def test_quantiles_of_what_was_seen_to_its_end() -> None:
    values = quantiles(exact([float(value) for value in range(1, 101)]), beyond=1.0)
    assert values == pytest.approx((5.5, 10.5, 25.5, 50.5, 75.5, 90.5, 95.5, 99.5))


def test_what_counts_more_is_felt_more() -> None:
    old, new = exact([1.0] * 50, weight=0.1), exact([2.0] * 10)
    values = quantiles(old + new, beyond=1.0)
    assert values[3] == 2.0
    assert values[1] == 1.0


def test_who_was_waited_for_in_vain_passes_on_to_those_who_took_longer() -> None:
    """Exponential times of mean 1, of which nobody waits for longer than 1."""
    dice = random.Random(5)
    took = [dice.expovariate(1.0) for _ in range(4000)]
    seen = [Sighting(min(seconds, 1.0), seconds > 1.0, 1.0) for seconds in took]
    values = quantiles(seen, beyond=1.0)
    assert values[3] == pytest.approx(0.693, rel=0.08)
    assert values[5] == pytest.approx(2.303, rel=0.08)
    left_out = quantiles([sighting for sighting in seen if not sighting.is_bound], beyond=1.0)
    assert left_out[5] < 1.0


def test_where_nobody_ever_answered_it_takes_longer_than_anybody_waited() -> None:
    values = quantiles([Sighting(0.5, True, 1.0), Sighting(0.8, True, 1.0)], beyond=0.2)
    assert values[0] > 0.8
    assert list(values) == sorted(values)
    with pytest.raises(ValueError, match="at least one sighting"):
        quantiles([], beyond=1.0)


def test_half_is_forgotten_after_each_half_life() -> None:
    total = DecayedSum(half_life_sec=10.0)
    total.add(8.0, now=100.0)
    assert [total.at(now) for now in (100.0, 110.0, 130.0)] == [8.0, 4.0, 1.0]
    total.add(1.0, now=120.0)
    assert total.at(120.0) == 3.0


def test_a_mean_leans_towards_what_is_new() -> None:
    mean = DecayedMean(half_life_sec=10.0, start=7.0)
    assert (mean.value, mean.evidence(0.0)) == (7.0, 0.0)
    mean.add(1.0, now=0.0)
    mean.add(4.0, now=10.0)
    assert mean.value == pytest.approx(3.0)
    assert mean.evidence(10.0) == pytest.approx(1.5)
