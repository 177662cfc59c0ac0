"""How late a loop was: counted on a clock that the test moves, and measured in a loop that is held up."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.loop_lag import TICK_SEC, WINDOW_SEC, LoopLag, LoopLagStatistics, watch_loop
from tests.virtual_time import on_virtual_time


def lag_of(*lateness: float) -> LoopLag:
    """A loop that was late by so much at each of its ticks."""
    lag, now = LoopLag(), 100.0
    for late in lateness:
        now += lag.wait_sec(now) + late
        lag.woke(now)
    return lag


def test_before_the_first_tick_nothing_is_late() -> None:
    assert LoopLag().statistics() == LoopLagStatistics(0.0, 0.0, 0.0)


def test_a_loop_in_time_shows_the_few_moments_when_it_was_not() -> None:
    figures = lag_of(*[0.001] * 98, 0.004, 0.04).statistics()
    assert figures.p50_sec == pytest.approx(0.001)
    assert figures.p99_sec == pytest.approx(0.004)
    assert figures.worst_sec == pytest.approx(0.04)


def test_a_stall_counts_for_as_long_as_it_lasted() -> None:
    """Three seconds of a minute in which nothing ran are five per cent of the minute, though one wake-up tells."""
    figures = lag_of(*[0.0] * 1139, 3.0).statistics()
    assert figures.p50_sec == 0.0
    assert figures.p99_sec == pytest.approx(2.4, abs=0.1)
    assert figures.worst_sec == pytest.approx(3.0)


def test_after_a_minute_a_stall_is_forgotten() -> None:
    ticks = round(WINDOW_SEC / TICK_SEC)
    assert lag_of(0.0, 10.0, *[0.0] * ticks).statistics().worst_sec == pytest.approx(0.0)


@given(st.lists(st.floats(0.0, 200.0), min_size=1, max_size=30))
def test_quantiles_are_ordered_and_the_next_tick_lies_ahead(lateness: list[float]) -> None:
    lag, now = LoopLag(), 0.0
    for late in lateness:
        now += lag.wait_sec(now) + late
        lag.woke(now)
        assert 0.0 <= lag.wait_sec(now) <= TICK_SEC + 1e-9
        figures = lag.statistics()
        assert 0.0 <= figures.p50_sec <= figures.p99_sec <= figures.worst_sec <= min(max(lateness), WINDOW_SEC) + 1e-9


@on_virtual_time
async def test_a_loop_that_is_held_up_is_seen_from_inside() -> None:
    loop, lag = asyncio.get_running_loop(), LoopLag()
    watching = asyncio.create_task(watch_loop(lag, clock=loop.time))
    await asyncio.sleep(1.01)
    assert lag.statistics().worst_sec == pytest.approx(0.0)

    loop._jumping.now += 0.24  # type: ignore[attr-defined]  # as if something had kept the loop for so long
    await asyncio.sleep(0.5)

    assert lag.statistics().worst_sec == pytest.approx(0.2)
    watching.cancel()
