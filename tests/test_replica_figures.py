"""What a replica counts of an attempt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deployments.replica_figures import more, queue_wait_sec
from routing.telemetry.attempt_record import AttemptFigures

TOLD = AttemptFigures(
    backend="cascade",
    model="cascade",
    outcome="told",
    asked_at=0.0,
    first_sec=0.5,
    first_sound_sec=0.5,
    duration_sec=2.5,
    sound_sec=4.0,
    input_tokens=10,
    output_tokens=41,
    is_speculative=False,
    timings_ms={"queue": 120.0, "rest": 2380.0},
)


def changed(**changes: Any) -> AttemptFigures:
    return replace(TOLD, **changes)


def test_what_was_counted_before_is_not_counted_again() -> None:
    assert sorted(more({20: 3, 21: 1, 60: 2}, {20: 2, 60: 2})) == [20, 21]
    assert not list(more({20: 3}, {20: 3}))


def test_who_waits_for_no_slot_has_waited_for_nothing() -> None:
    assert queue_wait_sec(TOLD) == pytest.approx(0.12)
    assert queue_wait_sec(changed(timings_ms={"transcribe": 80.0})) == 0.0
    assert queue_wait_sec(changed(timings_ms={})) is None
