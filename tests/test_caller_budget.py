"""Budgets: how they are written, and what exceeds them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.caller.budget import BUDGETS, Budget, breaches, read_budget
from routing.errors import InvalidRequest


@given(st.sampled_from(BUDGETS), st.floats(0, 1e6))
def test_a_budget_is_a_name_and_a_limit(name: str, limit: float) -> None:
    assert read_budget(f"{name}={limit}") == Budget(name, limit)


@pytest.mark.parametrize("text", ["v2v_p50", "v2v_p50=", "v2v_p50=fast", "misses=-1", "misses=nan", "misses=inf"])
def test_a_limit_is_a_number(text: str) -> None:
    with pytest.raises(InvalidRequest, match="=NUMBER, 0 or more, got"):
        read_budget(text)


@pytest.mark.parametrize("text", ["", "v2v=300", "V2V_P50=300", "=3"])
def test_an_unknown_name_is_answered_with_the_known_ones(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"expected a budget of v2v_p50, v2v_p90, .*misses, .*got"):
        read_budget(text)


def test_what_is_more_or_unknown_is_a_breach() -> None:
    budgets = [Budget("v2v_p50", 350), Budget("v2v_p95", 480), Budget("misses", 0), Budget("connect_max", 100)]
    figures = {"v2v_p50": 350.0, "v2v_p95": 480.4, "misses": 0.0, "connect_max": None}
    assert breaches(budgets, figures) == [
        "v2v_p95 is 480.4, 480 was allowed",
        "connect_max could not be measured, 100 was allowed",
    ]
