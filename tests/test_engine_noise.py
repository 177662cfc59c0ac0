"""Chance is a pure function of its place, and looks like chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.engine.noise import uniform, uniforms

SEEDS = st.integers(min_value=-(2**63), max_value=2**64)


@given(SEEDS, st.integers(0, 2**40), st.integers(1, 8))
def test_a_draw_depends_on_its_place_alone(seed: int, step: int, streams: int) -> None:
    draws = uniform(seed, step, 8)
    assert draws.dtype == np.float32
    assert np.all((draws > 0) & (draws < 1))
    assert np.array_equal(uniform(seed, step, streams), draws[:streams])


@given(st.lists(st.tuples(SEEDS, st.integers(0, 2**40)), min_size=1, max_size=8))
def test_several_at_a_time_are_what_each_is_alone(places: list[tuple[int, int]]) -> None:
    together = uniforms([seed for seed, _ in places], [step for _, step in places], 3)
    assert np.array_equal(together, [uniform(seed, step, 3) for seed, step in places])


@pytest.mark.parametrize(("seeds", "steps", "streams"), [(1, 20_000, 8), (20_000, 1, 8), (400, 400, 1)])
def test_draws_are_uniform_along_each_way_that_places_can_go(seeds: int, steps: int, streams: int) -> None:
    draws = uniforms(np.repeat(range(seeds), steps).tolist(), np.tile(range(steps), seeds).tolist(), streams).ravel()
    expected = len(draws) / 256
    counts = np.bincount((draws * 256).astype(int), minlength=256)
    assert 170 < np.sum((counts - expected) ** 2 / expected) < 350  # chi-square, 255 degrees of freedom: 255 ± 4 sigma


def test_neighbours_have_nothing_in_common() -> None:
    draws = uniforms(np.repeat(range(100), 100).tolist(), np.tile(range(100), 100).tolist(), 8).reshape(100, 100, 8)
    for axis in range(3):
        ahead, behind = np.delete(draws, 0, axis).ravel(), np.delete(draws, -1, axis).ravel()
        assert abs(np.corrcoef(ahead, behind)[0, 1]) < 0.015
