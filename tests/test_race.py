"""A race tells who may speak and when; it knows neither tasks nor clocks."""

from __future__ import annotations

import math

from routing.policy import Choice
from routing.race import Race

CHOICE = Choice(first="cloud", second="device", patience_sec=0.3, reason="")
NAMES = ("device", "cloud", "vendor")


def test_the_second_may_speak_when_the_patience_with_the_first_is_over() -> None:
    race = Race.by(CHOICE, NAMES, now=1.0)
    assert race.allowed(1.0) == ["cloud"]
    assert race.next_moment(1.0) == 1.3
    assert race.allowed(1.3) == ["cloud", "device"]
    assert race.next_moment(1.3) == math.inf


def test_whoever_is_left_takes_over_at_once() -> None:
    race = Race.by(CHOICE, NAMES, now=1.0)
    race.drop("cloud")
    assert race.allowed(1.0) == ["device"]
    race.drop("device")
    assert race.allowed(1.0) == ["vendor"]
    assert race.is_walkover
    race.drop("vendor")
    assert race.is_lost
    assert race.allowed(1.0) == []


def test_who_was_chosen_but_does_not_run_is_not_waited_for() -> None:
    assert Race.by(CHOICE, ("device",), now=1.0).allowed(1.0) == ["device"]


def test_stand_ins_come_one_after_the_other() -> None:
    race = Race.staggered(("device", "vendor"), every_sec=0.5, now=1.0)
    assert race.allowed(1.0) == ["device"]
    assert race.next_moment(1.0) == 1.5
    assert race.allowed(1.5) == ["device", "vendor"]
