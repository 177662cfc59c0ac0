"""Placements in sum."""

from __future__ import annotations

import pytest

from edge_client.route.summary import NOBODY, expected_sec, reason_head, summarise
from routing.policy import Question
from routing.record import Switch
from tests.placements import record

PRIVATE = Question(speech_sec=1.0, stays_here=True)


def test_what_was_expected_of_the_second_is_its_release() -> None:
    assert expected_sec(record(backend="cloud")) == 0.2
    assert expected_sec(record(backend="device")) == 0.2  # ready after 0.1 s, and held for 0.2 s
    assert expected_sec(record(backend=None, first_sound_sec=None)) is None


def test_reasons_are_told_apart_without_their_figures() -> None:
    assert reason_head(record()) == "worth waiting"


def test_turns_are_grouped_by_who_spoke() -> None:
    failed = record(backend=None, first_sound_sec=None)
    summary = summarise([record(), record(first_sound_sec=0.3), record(backend="cloud", first_sound_sec=0.2), failed])
    assert [(group.name, group.turns, group.share) for group in summary.backends] == [
        ("device", 2, 0.5),
        ("cloud", 1, 0.25),
        (NOBODY, 1, 0.25),
    ]
    device, cloud, nobody = summary.backends
    assert device.wait is not None
    assert device.wait.p99 == 0.3
    assert device.bias_sec == pytest.approx(0.1)
    assert nobody.wait is None
    assert cloud.work_sec == pytest.approx(4 * 0.3)  # for nothing, in each of the turns


def test_one_who_only_worked_for_nothing_is_listed() -> None:
    assert [group.turns for group in summarise([record()]).backends] == [1, 0]


def test_a_turn_that_passed_from_one_to_the_other_is_counted() -> None:
    midst = Switch(backend="device", instead_of="cloud", told_sec=1.5, why="stalled")
    summary = summarise([record(), record(backend="cloud", switches=(midst,))])
    assert (summary.seconds, summary.handovers) == (1, 1)


def test_a_private_turn_that_left_the_device_is_named() -> None:
    kept = record(question=PRIVATE, opened=("device",), arrivals={"device": 0.2})
    leaked = record(question=PRIVATE, turn_id="turn-7")
    summary = summarise([kept, leaked, record()])
    assert summary.private == 2
    assert summary.leaks == ("turn-7",)
