"""A budget is spent, filled again with time, and never grows beyond what may be saved."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_client.webrtc.budget import Budget


def spent(budget: Budget, times: int, now: float) -> int:
    return sum(budget.spend(now) for _ in range(times))


def test_what_was_saved_can_be_spent_at_once_and_then_so_much_a_second() -> None:
    budget = Budget(per_sec=10, saved=30)
    assert spent(budget, 100, now=0.0) == 30
    assert spent(budget, 100, now=1.0) == 10
    assert spent(budget, 100, now=1.25) == 2
    assert spent(budget, 100, now=1000.0) == 30


@given(st.lists(st.floats(-1.0, 10.0), max_size=200))
def test_no_more_is_spent_than_came_in(pauses: list[float]) -> None:
    budget, now, granted = Budget(per_sec=3, saved=5), 0.0, 0
    latest = 0.0
    for pause in pauses:
        now += pause
        latest = max(latest, now)
        granted += spent(budget, 4, now)
    passed = sum(max(pause, 0.0) for pause in pauses)
    assert granted <= 5 + 3 * passed + 1e-6


def test_what_was_used_already_is_owed_and_not_more() -> None:
    budget = Budget(per_sec=10, saved=30)
    assert spent(budget, 30, now=0.0) == 30
    for _ in range(5):
        budget.charge(0.0, 20)
    assert budget.wait_sec(0.0) == 2.1
    assert spent(budget, 5, now=2.05) == 0
    assert spent(budget, 5, now=2.2) == 2
