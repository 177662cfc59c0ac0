"""What a replica counts of an attempt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deployments.replica_figures import queue_wait_sec, time_per_token_sec
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


def test_time_per_token_counts_the_steps_after_the_first() -> None:
    assert time_per_token_sec(TOLD) == pytest.approx(0.05)
    assert time_per_token_sec(changed(output_tokens=1)) is None
    assert time_per_token_sec(changed(first_sec=None)) is None


def test_who_waits_for_no_slot_has_waited_for_nothing() -> None:
    assert queue_wait_sec(TOLD) == pytest.approx(0.12)
    assert queue_wait_sec(changed(timings_ms={"transcribe": 80.0})) == 0.0
    assert queue_wait_sec(changed(timings_ms={})) is None
