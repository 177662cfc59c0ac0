"""Who calls when, drawn by chance and the same every time."""

from __future__ import annotations

from itertools import islice, pairwise
from statistics import mean, pstdev
from typing import Any

import pytest

from edge_client.load.plan import ENDLESS, LoadPlan, Seat, draw_call, seats
from routing.errors import InvalidRequest

URL = "http://127.0.0.1:8080"


def test_calls_come_at_their_rate_with_the_waits_of_a_poisson_process() -> None:
    plan = LoadPlan(url=URL, rate_per_min=60, calls=4000)
    begins = [seat.begin_sec for seat in seats(plan)]
    waits = [later - earlier for earlier, later in pairwise(begins)]
    assert begins == [seat.begin_sec for seat in seats(plan)]
    assert len(begins) == 4000
    assert mean(waits) == pytest.approx(1.0, rel=0.05)
    assert pstdev(waits) == pytest.approx(mean(waits), rel=0.1)  # as is so for exponential times
    assert begins != [seat.begin_sec for seat in seats(LoadPlan(url=URL, rate_per_min=60, calls=4000, seed=2))]


def test_no_call_comes_after_the_time_is_over() -> None:
    begins = [seat.begin_sec for seat in seats(LoadPlan(url=URL, rate_per_min=60, duration_sec=30))]
    assert begins
    assert max(begins) <= 30


def test_calls_that_are_held_follow_each_other_in_their_seats() -> None:
    held = seats(LoadPlan(url=URL, concurrent=3, calls=8, ramp_sec=6))
    assert [seat.begin_sec for seat in held] == [0, 2, 4]
    assert [list(seat.numbers()) for seat in held] == [[1, 4, 7], [2, 5, 8], [3, 6]]
    assert len(seats(LoadPlan(url=URL, concurrent=3, calls=2))) == 2
    assert list(islice(Seat(0.0, 2, 3).numbers(), 3)) == [2, 5, 8]


def test_calls_have_so_many_turns_on_average_and_a_share_of_them_only_listens() -> None:
    plan = LoadPlan(url=URL, rate_per_min=1, calls=2000, turns=3.5, think_sec=2, listening=0.25)
    drawn = [draw_call(plan, number) for number in range(2000)]
    assert mean(call.turns for call in drawn) == pytest.approx(3.5, rel=0.05)
    assert min(call.turns for call in drawn) == 1
    assert mean(call.listen_sec is not None for call in drawn) == pytest.approx(0.25, abs=0.03)
    assert mean(next(call.thinking) for call in drawn) == pytest.approx(2, rel=0.1)
    again = draw_call(plan, 7)
    assert (again.turns, again.listen_sec, next(again.thinking)) == (
        drawn[7].turns,
        drawn[7].listen_sec,
        next(draw_call(plan, 7).thinking),
    )


def test_lasting_calls_have_no_end_of_their_own() -> None:
    plan = LoadPlan(url=URL, concurrent=2, duration_sec=5, lasting=True, listening=1)
    call = draw_call(plan, 1)
    assert (call.turns, call.listen_sec) == (ENDLESS, ENDLESS)


def test_how_many_calls_are_expected_at_once_follows_from_rate_and_length() -> None:
    plan = LoadPlan(url=URL, rate_per_min=30, calls=1000, turns=3, think_sec=2)
    assert plan.expected_sec == 21
    assert plan.expected_at_once == pytest.approx(10.5 + 2 * 10.5**0.5)
    assert LoadPlan(url=URL, rate_per_min=30, calls=2).expected_at_once == 2
    assert LoadPlan(url=URL, concurrent=7, calls=9).expected_at_once == 7


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"calls": 1}, "either a rate"),
        ({"calls": 1, "rate_per_min": 1, "concurrent": 1}, "either a rate"),
        ({"rate_per_min": 1}, "for how long"),
        ({"concurrent": 1, "calls": 1, "lasting": True}, "how long the calls last"),
        ({"concurrent": 1, "calls": 1, "turns": 0.5}, "turns of at least 1, got 0.5"),
        ({"rate_per_min": float("nan"), "calls": 1}, "rate_per_min"),
        ({"concurrent": 1, "calls": 1, "listening": 1.5}, "from 0 to 1, got 1.5"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        LoadPlan(url=URL, **fields)
