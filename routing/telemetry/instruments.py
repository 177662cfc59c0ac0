"""How what happened is counted: by the metrics of the table, with bounded labels and with the trace that it belongs to.

Nothing here is ambient. A measurement carries an exemplar where its carrier is passed, and none where it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, NoOpMeter, Observation
from opentelemetry.trace import set_span_in_context

from routing.telemetry.metrics import METRICS, Metric
from routing.telemetry.phase import Carrier
from routing.telemetry.spans import span_of

SERIES_LIMIT = 128  # of one metric; the label values of whatever comes beyond are `OTHER`
VALUE_CHARACTERS = 64
OTHER = "other"

type Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a meter shows: ``value`` in the metric's unit; of a counter, everything since the program began."""

    value: float
    labels: Labels = field(default_factory=dict)


type Look = Callable[[], Iterable[Reading]]


class Observer(Protocol):
    """Where that goes which is looked at, rather than counted as it happens."""

    def observe(self, metric: Metric, look: Look) -> None:
        """See `Instruments.observe`."""
        ...


class Instruments:
    """Counts for one program, on its event loop. Counting costs some 15 us and waits for nothing.

    Each metric is given all the labels that the table names for it and no other: anything else is a bug of ours.
    Should labels take more values than expected, the number of a metric's series stays bounded all the same.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self._observed: set[str] = set()
        self._series: dict[str, set[tuple[str, ...]]] = {metric.name: set() for metric in METRICS}

    @classmethod
    def silent(cls) -> Instruments:
        """Counts nothing."""
        return cls(NoOpMeter("silent"))

    def record(
        self, metric: Metric, value: float, labels: Labels | None = None, *, carrier: Carrier | None = None
    ) -> None:
        """Put a value, in the metric's unit, into its histogram; ``carrier`` names the span in which it was seen."""
        self._histogram(metric).record(value, self._bounded(metric, labels or {}), context=_context(carrier))

    def add(
        self, metric: Metric, value: float = 1, labels: Labels | None = None, *, carrier: Carrier | None = None
    ) -> None:
        """Add to a counter; never less than nothing."""
        self._counter(metric).add(value, self._bounded(metric, labels or {}), context=_context(carrier))

    def observe(self, metric: Metric, look: Look) -> None:
        """Have ``look`` called, on any thread, whenever somebody wants to know; it must not wait. Once per metric."""
        assert metric.name not in self._observed, f"{metric.name} is observed already"
        self._observed.add(metric.name)

        def observations(_: CallbackOptions) -> list[Observation]:
            return [Observation(each.value, self._bounded(metric, each.labels)) for each in look()]

        match metric.kind:
            case "counter":
                self._meter.create_observable_counter(metric.name, [observations], metric.unit, metric.description)
            case "gauge":
                self._meter.create_observable_gauge(metric.name, [observations], metric.unit, metric.description)
            case kind:
                raise AssertionError(f"expected a counter or a gauge, {metric.name} is a {kind}")

    def _histogram(self, metric: Metric) -> Histogram:
        assert metric.kind == "histogram", f"expected a histogram, {metric.name} is a {metric.kind}"
        if metric.name not in self._histograms:
            self._histograms[metric.name] = self._meter.create_histogram(
                metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=metric.bounds
            )
        return self._histograms[metric.name]

    def _counter(self, metric: Metric) -> Counter:
        assert metric.kind == "counter", f"expected a counter, {metric.name} is a {metric.kind}"
        if metric.name not in self._counters:
            self._counters[metric.name] = self._meter.create_counter(metric.name, metric.unit, metric.description)
        return self._counters[metric.name]

    def _bounded(self, metric: Metric, labels: Labels) -> dict[str, str]:
        assert labels.keys() == set(metric.labels), f"expected {metric.labels} with {metric.name}, got {tuple(labels)}"
        values = tuple(labels[name][:VALUE_CHARACTERS] for name in metric.labels)
        known = self._series[metric.name]
        if values not in known:
            if len(known) >= SERIES_LIMIT:
                values = (OTHER,) * len(values)
            known.add(values)
        return dict(zip(metric.labels, values, strict=True))


def _context(carrier: Carrier | None) -> Context:
    return set_span_in_context(span_of(carrier), Context()) if carrier else Context()
