"""The promises of the router, on networks as bad as they are outside: the real router, outlooks and policies."""

from __future__ import annotations

import pytest

from routing.policy import PolicyName
from tests.routing_simulation.capacity import cold_starts
from tests.routing_simulation.figures import Figures, figures, truth
from tests.routing_simulation.network import WEATHERS, Line, Moment, drawn
from tests.routing_simulation.play import QUALITY_SEC, play
from tests.routing_simulation.world import SCENARIOS, world

TURNS = 300
SEED = 7


def played(scenario: str, policy: PolicyName, *, turns: int = TURNS) -> Figures:
    place = world(scenario, turns=turns, seed=SEED)
    return figures([(place, play(place, policy))])


# -- the world -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weather", WEATHERS.values(), ids=list(WEATHERS))
def test_whatever_is_sent_arrives_some_time_later_and_the_same_for_everybody(weather: object) -> None:
    lines = [drawn(weather, seconds=60.0, seed=3) for _ in range(2)]  # type: ignore[arg-type]  # a Weather
    sent = [0.1 * step for step in range(500)]
    assert [lines[0].arrival(at) for at in sent] == [lines[1].arrival(at) for at in sent]
    assert all(0.005 < lines[0].arrival(at) - at < 60.0 for at in sent)


def test_an_outage_holds_everything_back_for_seconds_and_a_steady_network_nothing() -> None:
    lines = {name: drawn(WEATHERS[name], seconds=200.0, seed=3) for name in ("steady", "outage")}
    sent = [0.1 * step for step in range(1800)]
    waits = {name: max(line.arrival(at) - at for at in sent) for name, line in lines.items()}
    assert waits["steady"] < 0.5
    assert waits["outage"] > 3.0


def test_an_outage_at_the_end_of_a_network_has_an_end() -> None:
    line = Line([Moment(0.02, 0.0, 0.0)] * 200 + [Moment(0.02, 0.0, 1.0)] * 20, seed=1)
    assert 11.0 < line.arrival(10.5) < 21.0


def test_a_cold_start_fills_the_queue_until_it_refuses_and_it_is_worked_off() -> None:
    capacity = cold_starts(seconds=1200.0, seed=4)
    moments = [float(second) for second in range(1200)]
    assert any(capacity.is_full(at) for at in moments)
    assert sum(capacity.queue_sec(at) == 0.0 for at in moments) > 400


def test_the_same_seed_plays_the_same_and_every_turn_is_answered() -> None:
    place = world("lossy", turns=40, seed=SEED)
    once, again = (play(place, "hedged") for _ in range(2))
    assert [(turn.backends, turn.wait_sec) for turn in once] == [(turn.backends, turn.wait_sec) for turn in again]
    assert all(turn.wait_sec is not None for turn in once)


def test_nobody_does_better_than_who_knows_the_future() -> None:
    place = world("steady", turns=40, seed=SEED)
    for turn in play(place, "hedged"):
        true = truth(place, turn.plan)
        assert turn.wait_sec is not None
        worth = QUALITY_SEC if turn.backend == "cloud" else 0.0
        assert turn.wait_sec - worth >= true.burden_sec(true.best) - 1e-6


# -- the promises ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_hedged_is_never_much_later_than_the_better_of_device_and_cloud(scenario: str) -> None:
    device, cloud, hedged = (played(scenario, policy) for policy in ("device", "cloud", "hedged"))
    p99 = hedged.v2v.values[-1]
    assert hedged.answered == hedged.turns
    assert p99 <= 1.1 * min(device.v2v.values[-1], cloud.v2v.values[-1])
    if scenario in {"congested", "outage"}:
        assert p99 <= 0.6 * cloud.v2v.values[-1]
    if scenario == "steady":
        assert hedged.kept >= 0.9
    assert 0.85 <= hedged.covered["device"] <= 0.95
    assert 0.85 <= hedged.covered["cloud"] <= 0.95
