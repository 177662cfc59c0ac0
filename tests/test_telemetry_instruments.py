"""What is counted has the table's labels and buckets, a bounded number of series, and the trace that it belongs to."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from routing.telemetry.instruments import OTHER, SERIES_LIMIT, Instruments, Reading
from routing.telemetry.metrics import (
    LOOP_LAG,
    METRICS,
    REGRET,
    SESSIONS,
    TIME_TO_FIRST_AUDIO,
    TURNS,
    UNDERRUNS,
    VOICE_TO_VOICE,
    VOICE_TO_VOICE_SEC,
)

SAMPLED = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-03"}
NOT_SAMPLED = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-00"}
HEARD = {"target": "device", "outcome": "ok", "measured": "caller"}


class Counted:
    """Instruments, and what a reader finds in them."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.instruments = Instruments(MeterProvider(metric_readers=[self._reader]).get_meter("test"))

    def points(self) -> dict[str, list[Any]]:
        data = self._reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        return {metric.name: list(metric.data.data_points) for scope in scopes for metric in scope.metrics}


def test_a_histogram_has_the_buckets_of_the_table_and_tells_the_trace() -> None:
    counted = Counted()
    counted.instruments.record(VOICE_TO_VOICE, 0.42, HEARD, carrier=SAMPLED)
    (point,) = counted.points()[VOICE_TO_VOICE.name]
    (exemplar,) = point.exemplars
    assert (point.sum, point.explicit_bounds, dict(point.attributes)) == (0.42, VOICE_TO_VOICE_SEC, HEARD)
    assert (exemplar.value, f"{exemplar.trace_id:032x}", f"{exemplar.span_id:016x}") == (0.42, "ab" * 16, "cd" * 8)


@pytest.mark.parametrize("carrier", [None, {}, NOT_SAMPLED, {"traceparent": "nonsense"}])
def test_a_trace_that_nobody_keeps_is_not_told(carrier: dict[str, str] | None) -> None:
    counted = Counted()
    counted.instruments.record(REGRET, 0.1, carrier=carrier)
    assert counted.points()[REGRET.name][0].exemplars == []


def test_counters_count_and_gauges_are_looked_at() -> None:
    counted = Counted()
    counted.instruments.add(TURNS, labels={"target": "cloud", "outcome": "ok"}, carrier=SAMPLED)
    counted.instruments.add(TURNS, 2, {"target": "cloud", "outcome": "error"})
    sessions = iter([3, 4])
    counted.instruments.observe(SESSIONS, lambda: [Reading(next(sessions))])
    first, second = counted.points(), counted.points()
    assert {each.attributes["outcome"]: each.value for each in first[TURNS.name]} == {"ok": 1, "error": 2}
    assert [first[SESSIONS.name][0].value, second[SESSIONS.name][0].value] == [3, 4]


def test_a_meter_that_shows_nothing_is_absent() -> None:
    counted = Counted()
    counted.instruments.observe(SESSIONS, list)
    assert SESSIONS.name not in counted.points()


def test_labels_that_take_too_many_values_end_up_as_one() -> None:
    counted = Counted()
    for number in range(SERIES_LIMIT + 10):
        counted.instruments.add(TURNS, labels={"target": f"cloud {number}", "outcome": "ok"})
    counted.instruments.add(TURNS, labels={"target": "cloud 5", "outcome": "ok"})
    points = {each.attributes["target"]: each.value for each in counted.points()[TURNS.name]}
    assert (len(points), points[OTHER], points["cloud 5"]) == (SERIES_LIMIT + 1, 10, 2)


def test_what_the_table_does_not_say_is_our_own_bug() -> None:
    instruments = Instruments.silent()
    with pytest.raises(AssertionError, match=r"expected \('target',\)"):
        instruments.record(TIME_TO_FIRST_AUDIO, 0.1, {"turn_id": "turn_1"})
    with pytest.raises(AssertionError, match="expected a histogram"):
        instruments.record(UNDERRUNS, 1)
    with pytest.raises(AssertionError, match="expected a counter"):
        instruments.add(REGRET)
    with pytest.raises(AssertionError, match="expected a counter or a gauge"):
        instruments.observe(REGRET, list)


def test_silent_ones_take_everything() -> None:
    instruments = Instruments.silent()
    instruments.record(VOICE_TO_VOICE, 0.42, HEARD, carrier=SAMPLED)
    instruments.add(UNDERRUNS)
    instruments.observe(LOOP_LAG, list)


def test_no_two_metrics_have_the_same_name() -> None:
    names = [metric.prometheus_name for metric in METRICS]
    assert len(names) == len(set(names))
