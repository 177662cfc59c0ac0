"""Recorded turns under another policy: decided again, with what was seen where it was seen."""

from __future__ import annotations

import pytest

from edge_client.route.replay import AS_IT_WAS, ESTIMATED, RECORDED, Replayed, replay, sides
from edge_client.route.summary import NOBODY
from routing.policy import DeviceState, PolicyName, Question, choose
from routing.record import PlacementRecord
from tests.placements import around, cloud, device, record


def replayed(turn: PlacementRecord, policy: PolicyName) -> Replayed:
    (found,) = replay([turn], policy)
    return found


def test_what_is_decided_the_same_comes_as_it_came() -> None:
    prospects = (device(), cloud())
    question = Question(speech_sec=1.5, language="en")
    choice = choose("hedged", question, prospects, DeviceState(load=0.4, battery=0.8))
    turn = replayed(record(choice=choice, first_sound_sec=0.123), "hedged")
    assert (turn.backend, turn.wait_sec, turn.source) == ("device", 0.123, AS_IT_WAS)


@pytest.mark.parametrize(("policy", "backend", "wait_sec"), [("device", "device", 0.1), ("cloud", "cloud", 0.3)])
def test_an_answer_that_was_seen_comes_when_it_came(policy: PolicyName, backend: str, wait_sec: float) -> None:
    turn = replayed(record(), policy)  # asked 0.1 s before the end, the device came after 0.2 s, the cloud after 0.4 s
    assert (turn.backend, turn.source) == (backend, RECORDED)
    assert turn.wait_sec == pytest.approx(wait_sec)


def test_an_answer_that_nobody_waited_for_is_drawn_from_what_could_still_come() -> None:
    given_up = record(arrivals={"device": 0.2, "cloud": None}, abandoned_sec={"cloud": 0.4})
    turn = replayed(given_up, "cloud")
    assert (turn.backend, turn.source) == ("cloud", ESTIMATED)
    assert turn.wait_sec is not None
    assert turn.wait_sec >= 0.3  # it had not come 0.4 s after asking, which was 0.1 s before the end
    assert replayed(given_up, "cloud") == turn


def test_draws_are_spread_like_the_prediction() -> None:
    turns = [record(turn_id=f"turn-{number}", arrivals={"device": 0.2}) for number in range(200)]
    waits = [turn.wait_sec for turn in replay(turns, "cloud") if turn.wait_sec is not None]
    predicted = around(0.3)
    for level in (0.25, 0.5, 0.75):
        within = sum(wait <= predicted.quantile(level) - 0.1 for wait in waits) / len(waits)
        assert within == pytest.approx(level, abs=0.1)


def test_where_the_cloud_failed_the_device_speaks_as_soon_as_it_can() -> None:
    turn = replayed(record(arrivals={"device": 0.2, "cloud": None}), "cloud")
    assert (turn.backend, turn.source) == ("device", RECORDED)
    assert turn.wait_sec == pytest.approx(0.1)


def test_where_everybody_failed_nobody_speaks() -> None:
    turn = replayed(record(arrivals={"device": None, "cloud": None}), "cloud")
    assert (turn.backend, turn.wait_sec) == (NOBODY, None)


def test_privacy_holds_in_a_replay_as_well() -> None:
    private = record(question=Question(speech_sec=1, stays_here=True), arrivals={"device": 0.2}, opened=("device",))
    assert replayed(private, "cloud").backend == "device"
    nobody_here = record(question=Question(speech_sec=1, stays_here=True), prospects=(cloud(),), arrivals={})
    assert replayed(nobody_here, "cloud").backend == NOBODY


def test_both_policies_stand_side_by_side() -> None:
    was, would = sides(replay([record(), record()], "cloud"), "cloud")
    assert (was.policy, would.policy) == ("hedged (recorded)", "cloud (replayed)")
    assert was.shares == {"device": 1.0}
    assert would.shares == {"cloud": 1.0}
    assert would.wait is not None
    assert would.wait.p50 == pytest.approx(0.3)
    assert would.burden_sec == pytest.approx(0.3 - 0.25)
