"""Reasons that hold figures and names end up as few kinds: those of every decision and switch that there can be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.errors import AtCapacity, BackendError, BackendUnavailable, InvalidRequest, UnsuitedTurn
from routing.policy import Choice, DeviceState, PolicyName, Prospect, Question, choose
from routing.settings import RoutingSettings
from routing.telemetry.instruments import OTHER
from routing.telemetry.reason_class import DECISIONS, SWITCHES, reason_class
from routing.track import Fault, Silent, Stalled, why
from routing.turns import Heard, Placement
from tests.contenders import END, Timed, Told, listen
from tests.test_policy import POLICIES, cloud, device, many_prospects
from tests.virtual_time import on_virtual_time

FAULTS: list[tuple[Fault, str]] = [
    (AtCapacity("full of secrets", retry_after_sec=1), "at capacity"),
    (BackendUnavailable("gone"), "unavailable"),
    (InvalidRequest("no"), "unsuited"),
    (UnsuitedTurn("no"), "unsuited"),
    (Stalled("no"), "stalled"),
    (Silent("no"), "silent"),
    (BackendError("no"), "failed"),
]


def decided(policy: PolicyName, *prospects: Prospect, stays_here: bool = False) -> str:
    return reason_class(
        choose(policy, Question(speech_sec=1.5, stays_here=stays_here), prospects, DeviceState()).reason
    )


def test_every_kind_of_decision_has_its_class() -> None:
    lost = cloud(why_not="circuit open")
    assert decided("hedged", device(), cloud(is_ready=True)) == "ready"
    assert decided("hedged", device(0.15), cloud(0.2)) == "worth waiting"
    assert decided("hedged", device(0.15), cloud(3.0)) == "not worth waiting"
    assert decided("latency", device(0.15), cloud(3.0)) == "soonest"
    assert decided("latency", device(0.2), cloud(0.3)) == "worth the difference"
    assert decided("hedged", device(), cloud(), stays_here=True) == "private"
    assert decided("hedged", device(), lost) == "only one able"
    assert decided("hedged", device()) == "only backend"
    assert decided("device", device(), cloud()) == "policy device"
    assert decided("device", cloud(), cloud(name="other")) == "policy device"
    assert decided("cloud", device(), cloud()) == "policy cloud"
    assert decided("cloud", device(), replace(device(), name="other")) == "policy cloud"
    assert decided("hedged", lost) == "nobody able"


@given(many_prospects(), st.sampled_from(POLICIES), st.booleans())
def test_whatever_is_decided_has_a_class(prospects: list[Prospect], policy: PolicyName, stays_here: bool) -> None:
    try:
        kind = decided(policy, *prospects, stays_here=stays_here)
    except BackendUnavailable as error:  # what the router puts in the place of a reason
        kind = reason_class(Choice(first="", reason=str(error)).reason)
    assert kind in DECISIONS


@pytest.mark.parametrize(("fault", "kind"), FAULTS)
def test_every_fault_has_its_class(fault: Fault, kind: str) -> None:
    assert reason_class(why(fault)) == kind
    assert kind in SWITCHES


@on_virtual_time
async def test_what_is_told_of_a_switch_or_of_silence_has_a_class() -> None:
    device, silence = (Timed("device", 0.05, Heard(words, is_final=True), "Device.", END) for words in ("hello", ""))
    broken = Timed("cloud", 0.2, BackendError("no"))
    taken_over = await listen(device, broken, choose=choose, settings=RoutingSettings(policy="cloud"))
    nobody = await listen(silence, choose=choose)
    assert [placement_class(told) for told in (taken_over, nobody)] == ["policy cloud", "nobody said a word"]
    assert taken_over.record is not None
    assert [reason_class(switch.why) for switch in taken_over.record.outcome.switches] == ["failed"]


def placement_class(told: Told) -> str:
    (reason,) = (event.reason for event in told.events if isinstance(event, Placement))
    return reason_class(reason)


def test_a_text_that_nobody_knows_is_no_label() -> None:
    assert reason_class("my name is Bond") == OTHER
    assert reason_class("") == OTHER
