"""A cell of callers: nothing vanishes, queues are as long as theory says, and the same seed gives the same day."""

from __future__ import annotations

from dataclasses import asdict
from math import factorial
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from deployments.plan.cell import Cell
from deployments.plan.distribution import exponential
from deployments.plan.settings import PlanSettings
from deployments.plan.tally import Tally, tail

NEVER: dict[str, Any] = {"bursts": [], "incidents": [], "upgrades": []}
AT_ONCE = {"median": 0.0, "p95": 0.0}
SINGLE_TURNS: dict[str, Any] = {
    "calls": {"turns": 1, "think": AT_ONCE, "speech": AT_ONCE, "reply": {"median": 1, "p95": 1}, "private_share": 0},
    "turn_taking": {"pause_sec": 0, "endpoint_wait": AT_ONCE, "network": AT_ONCE, "hedge_sec": 1e6},
    "gateways": {"places": 100_000, "device_replies": 0, "failed_after_hours": 1e9},
}


def even_day(seconds: float) -> dict[str, Any]:
    """Each hour is like the others."""
    return {"hours": [1] * 24, "played_sec": seconds, **NEVER}


def queue(*, slots: int, waiting: int, turns_per_sec: float, seconds: float) -> Tally:
    """One replica, whose turns come independently of each other and take one second on average, exponentially."""
    replicas = {
        "slots": slots,
        "waiting": waiting,
        "step_base_sec": 0,
        "step_row_sec": 0,
        "prompt_sec": 0,
        "ahead_sec": 0,
        "first_audio_target_sec": 1e6,
        "failed_after_hours": 1e9,
    }
    settings = PlanSettings.model_validate(
        SINGLE_TURNS
        | {
            "day": even_day(seconds),
            "replicas": replicas,
            "autoscaling": {"minimum_replicas": 1, "maximum_replicas": 1},
        }
    )
    cell = Cell(settings, sessions=turns_per_sec * settings.cycle_sec, seed=3)
    cell._reply = exponential(1.0, np.random.default_rng(1))
    return cell.play()


def erlang_b(load: float, servers: int) -> float:
    """The share that finds all servers busy, where nobody waits."""
    return load**servers / factorial(servers) / sum(load**k / factorial(k) for k in range(servers + 1))


def erlang_c(load: float, servers: int) -> float:
    """The share that must wait, where everybody does."""
    blocked = erlang_b(load, servers)
    return blocked / (1 - load / servers * (1 - blocked))


@pytest.mark.slow
def test_waits_are_those_of_erlang() -> None:
    servers, load = 4, 2.8
    tally = queue(slots=servers, waiting=10_000, turns_per_sec=load, seconds=6_000.0)
    assert fmean(tally.queue_waits) == pytest.approx(erlang_c(load, servers) / (servers - load), rel=0.1)
    assert fmean(wait > 0 for wait in tally.queue_waits) == pytest.approx(erlang_c(load, servers), rel=0.05)


@pytest.mark.slow
def test_where_nobody_may_wait_so_many_are_refused_as_erlang_says() -> None:
    tally = queue(slots=4, waiting=0, turns_per_sec=2.8, seconds=4_000.0)
    assert tally.counts.refused / tally.counts.asked == pytest.approx(erlang_b(2.8, 4), rel=0.05)


def small(**changes: Any) -> PlanSettings:
    """A cell in which something happens all the time."""
    return PlanSettings.model_validate(
        {
            "day": {
                "played_sec": 240.0,
                "bursts": [{"hour": 9, "share": 0.5, "within_sec": 10}],
                "incidents": [{"hour": 12, "replicas": 0.5, "gateways": 0.5}],
                "upgrades": [16],
            },
            "replicas": {"slots": 4, "waiting": 2, "cold_start": {"median": 10, "p95": 20}},
            "gateways": {"places": 8, "device_replies": 1, "start": {"median": 3, "p95": 5}},
            "autoscaling": {"maximum_replicas": 20, "look_back_sec": 20, "leave_every_sec": 2, "growth_sec": 8},
        }
        | changes
    )


def test_slots_in_use_are_those_of_little() -> None:
    settings = small(day=even_day(1_000.0), replicas={"slots": 4, "waiting": 0, "failed_after_hours": 1e9})
    tally = Cell(settings, sessions=60, seed=5).play()
    served_per_sec = tally.counts.cloud / tally.seconds
    assert tally.mean("occupied") == pytest.approx(served_per_sec * settings.slot_sec, rel=0.05)
    assert tally.mean("sessions") == pytest.approx(60, rel=0.2)


@pytest.mark.slow
@given(
    sessions=st.integers(1, 60),
    seed=st.integers(0, 1000),
    waiting=st.integers(0, 4),
    device_replies=st.integers(0, 3),
    hedge_sec=st.sampled_from([0.0, 0.1, 2.0]),
    failed_after_hours=st.sampled_from([0.005, 0.02, 1e6]),
    tries=st.integers(1, 3),
    first_audio_target_sec=st.sampled_from([0.4, 60.0]),
)
@effort(max_examples=25, deadline=None)
def test_no_turn_vanishes(
    *,
    sessions: int,
    seed: int,
    waiting: int,
    device_replies: int,
    hedge_sec: float,
    failed_after_hours: float,
    tries: int,
    first_audio_target_sec: float,
) -> None:
    settings = small(
        turn_taking={"hedge_sec": hedge_sec},
        replicas={
            "slots": 3,
            "waiting": waiting,
            "tries": tries,
            "failed_after_hours": failed_after_hours,
            "first_audio_target_sec": first_audio_target_sec,  # only with the longer one does anybody wait
            "cold_start": {"median": 5, "p95": 20},
        },
        gateways={"places": 8, "device_replies": device_replies, "failed_after_hours": 10 * failed_after_hours},
    )
    cell = Cell(settings, sessions=sessions, seed=seed)
    counts = cell.play().counts
    told = [session for gateway in cell._gateways for session in gateway.sessions]
    assert counts.open == sum(session.turn is not None for session in told)
    assert counts.private <= counts.asked
    assert len(told) == cell._in_progress
    assert all(len(gateway.sessions) <= gateway.places for gateway in cell._gateways)
    for replica in cell._fleet.replicas:
        assert len(replica.turns) <= 3
        assert len(replica.waiting) <= waiting
        assert all(turn.replica is replica and not turn.is_over for turn in [*replica.turns, *replica.waiting])


def test_the_same_seed_gives_the_same_day_and_another_one_another() -> None:
    one, same, other = (Cell(small(), sessions=30, seed=seed).play() for seed in (1, 1, 2))
    assert asdict(one) == asdict(same)
    assert one.counts.asked != other.counts.asked


def test_more_replicas_never_make_it_worse() -> None:
    def felt(replicas: int) -> tuple[float, float]:
        settings = small(
            day=even_day(400.0),
            replicas={"slots": 4, "waiting": 2, "failed_after_hours": 1e9},
            autoscaling={"minimum_replicas": replicas, "maximum_replicas": replicas},
            gateways={"device_replies": 1000, "places": 10_000},
        )
        tally = Cell(settings, sessions=40, seed=9).play()
        return tally.counts.device / tally.counts.asked, tail(tally.first_audio).p95

    fewer, some, more = map(felt, (3, 5, 8))
    assert fewer[0] > some[0] > more[0]
    assert fewer[1] >= some[1] - 0.005
    assert some[1] >= more[1] - 0.005


def test_a_dead_replica_costs_its_turns_time_and_a_dead_edge_its_turns() -> None:
    quiet = {"hours": [1] * 24, "played_sec": 240.0, "bursts": [], "upgrades": []}
    replicas = small(day=quiet | {"incidents": [{"hour": 12, "replicas": 0.5}]})
    counts = Cell(replicas, sessions=40, seed=1).play().counts
    assert counts.replicas_failed > 0
    assert counts.retried > 0
    assert counts.lost == 0
    edges = small(day=quiet | {"incidents": [{"hour": 12, "gateways": 0.5}]})
    counts = Cell(edges, sessions=40, seed=1).play().counts
    assert counts.lost > 0
    assert counts.calls_back > 0


def test_a_late_reply_is_overtaken_only_by_a_device_that_is_still_free() -> None:
    settings = small(
        day=even_day(200.0),
        calls={"private_share": 0},
        replicas={"slots": 16, "waiting": 0, "prompt_sec": 0.6, "failed_after_hours": 1e9},
        gateways={"places": 100, "device_replies": 1, "failed_after_hours": 1e9, "scaling": {"minimum_pods": 1}},
        autoscaling={"minimum_replicas": 10, "maximum_replicas": 10},
    )
    counts = Cell(settings, sessions=40, seed=1).play().counts
    assert min(counts.device, counts.cloud) > 0
    assert counts.refused == 0


def test_a_turn_whose_replica_died_may_wait_at_another_one_for_longer_than_its_reply_would_have_taken() -> None:
    settings = small(
        replicas={
            "slots": 3,
            "waiting": 4,
            "tries": 1,
            "failed_after_hours": 0.01,
            "first_audio_target_sec": 60.0,
            "cold_start": {"median": 5, "p95": 20},
        },
        gateways={"places": 8, "device_replies": 0, "start": {"median": 3, "p95": 5}},
    )
    counts = Cell(settings, sessions=30, seed=0).play().counts
    assert counts.retried > 0
    assert counts.open < counts.asked / 10


def test_an_upgrade_replaces_everybody_and_loses_nothing() -> None:
    settings = small(day={"hours": [1] * 24, "played_sec": 400.0, "bursts": [], "incidents": [], "upgrades": [6]})
    cell = Cell(settings, sessions=40, seed=1)
    counts = cell.play().counts
    assert counts.lost == counts.retried == 0
    assert {replica.generation for replica in cell._fleet.ready()} == {1}


def test_with_the_cloud_full_the_device_answers() -> None:
    few = small(
        day=even_day(240.0),
        autoscaling={"minimum_replicas": 1, "maximum_replicas": 1},
        gateways={"places": 100, "device_replies": 100},
    )
    counts = Cell(few, sessions=60, seed=1).play().counts
    assert counts.device > counts.private
    assert counts.refused == 0
