"""What a replica counts of an attempt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from deployments.model import Model
from deployments.ray_instruments import RayInstruments
from deployments.replica_figures import ReplicaFigures, more, queue_wait_sec
from routing.load import Load
from routing.telemetry.attempt_record import AttemptFigures
from routing.telemetry.instruments import Labels, Look
from routing.telemetry.metrics import SLOTS, SLOTS_IN_USE, START_DURATION, Metric

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


class Shown:
    """What is observed, as Ray's exporter would be told of it."""

    def __init__(self) -> None:
        self.looks: dict[str, Look] = {}

    def add(self, metric: Metric, value: float = 1, labels: Labels | None = None) -> None:
        """Counting is not looked at here."""

    def observe(self, metric: Metric, look: Look) -> None:
        self.looks[metric.name] = look

    def value(self, metric: Metric) -> float:
        (reading,) = self.looks[metric.name]()
        return reading.value


class Idle:
    """A model of four slots that nobody asks."""

    def load(self) -> Load:
        return Load(slots=4, in_use=0)


def test_a_replica_tells_its_slots_and_how_long_its_start_took() -> None:
    shown = Shown()
    ReplicaFigures(cast(RayInstruments, shown), cast(Model, Idle()), start_sec=12.5)
    assert [shown.value(metric) for metric in (START_DURATION, SLOTS, SLOTS_IN_USE)] == [12.5, 4, 0]
