"""Whoever is alone is run at once; where the model has no time to spare the next is waited for, but never long."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.gathering import HALF_LIFE_SEC, OVERDUE, Fading, Gathering

WAIT_SEC = 0.01


def stream(*, every_sec: float, share: float = 1.0, calls: int = 2000) -> tuple[Gathering, float]:
    """Calls that came at regular times, each of which took a ``share`` of them, and when the last one came."""
    gathering = Gathering(maximum_batch=8, longest_wait_sec=WAIT_SEC)
    for call in range(calls):
        gathering.ran(began=(call - share) * every_sec, now=call * every_sec)
        gathering.arrive(call * every_sec)
    return gathering, (calls - 1) * every_sec


def test_a_lone_call_is_run_at_once() -> None:
    gathering, now = stream(every_sec=1, calls=1)
    assert gathering.run_at(waiting=1, oldest=now, now=now) == now


def test_the_first_two_of_a_quiet_time_are_not_held_up_for_a_third() -> None:
    gathering, now = stream(every_sec=0.001, calls=2)
    assert gathering.run_at(waiting=2, oldest=0.0, now=now) == now


def test_in_a_stream_the_next_call_is_waited_for_and_when_it_is_overdue_no_more() -> None:
    gathering, now = stream(every_sec=0.002)
    assert gathering.run_at(waiting=1, oldest=now, now=now) == pytest.approx(now + OVERDUE * 0.002, rel=0.01)


def test_while_the_model_has_time_to_spare_nobody_waits() -> None:
    gathering, now = stream(every_sec=0.002, share=0.7)
    assert gathering.share_at_work(now) == pytest.approx(0.7, rel=0.01)
    assert gathering.run_at(waiting=1, oldest=now, now=now) == now


def test_nobody_waits_for_longer_than_the_bound() -> None:
    gathering, now = stream(every_sec=0.006)
    assert gathering.run_at(waiting=1, oldest=now, now=now) == pytest.approx(now + WAIT_SEC)
    assert gathering.run_at(waiting=2, oldest=now - 0.006, now=now) == now  # a third would come too late
    assert gathering.run_at(waiting=2, oldest=now - 1, now=now) == now


def test_a_full_batch_is_run_at_once() -> None:
    gathering, now = stream(every_sec=0.0005)
    assert gathering.run_at(waiting=8, oldest=now - 0.004, now=now) == now


def test_a_lull_makes_all_forgotten() -> None:
    gathering, now = stream(every_sec=0.002)
    later = now + 10 * HALF_LIFE_SEC
    gathering.arrive(later)
    assert gathering.share_at_work(later) < 0.01
    assert gathering.run_at(waiting=1, oldest=later, now=later) == later


def test_without_a_bound_nobody_waits() -> None:
    gathering = Gathering(maximum_batch=8, longest_wait_sec=0.0)
    gathering.ran(began=-100, now=0.0)
    for call in range(1000):
        gathering.arrive(call * 0.0001)
    assert gathering.run_at(waiting=1, oldest=0.0999, now=0.0999) == 0.0999


def test_what_was_measured_counts_half_after_a_half_life() -> None:
    fading = Fading()
    fading.add(4, now=1)
    fading.add(1, now=1 + HALF_LIFE_SEC)
    assert fading.at(1 + HALF_LIFE_SEC) == pytest.approx(3)
    assert fading.at(1 + 2 * HALF_LIFE_SEC) == pytest.approx(1.5)


@given(gaps=st.lists(st.floats(0, 1), min_size=1, max_size=50), wait=st.floats(0, 0.1), late=st.floats(0, 1))
def test_no_pattern_of_calls_makes_anybody_wait_beyond_the_bound(gaps: list[float], wait: float, late: float) -> None:
    gathering, now = Gathering(maximum_batch=4, longest_wait_sec=wait), 0.0
    for gap in gaps:
        gathering.ran(began=now, now=now + gap)
        now += gap
        gathering.arrive(now)
    run_at = gathering.run_at(waiting=1, oldest=now, now=now + late)
    assert now + late <= run_at <= max(now + wait, now + late)
    assert math.isfinite(run_at)
