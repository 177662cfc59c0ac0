"""The metrics of the table, counted by Ray and shown by its exporter: ``ray_`` and their names in Prometheus."""

from __future__ import annotations

from typing import Final

from ray.serve.metrics import Counter, Gauge, Histogram

from routing.telemetry.instruments import Labels, Look
from routing.telemetry.metrics import Metric

LOOK_SEC: Final = 4.0  # Ray forgets a gauge that was not set for two of its own intervals, of 10 s each


class RayInstruments:
    """See `routing.telemetry.instruments.Instruments`. Counting costs some 3 us, on any thread.

    Beside the table's labels each metric has Serve's own: deployment, replica and application. What is observed is
    looked at by `look`, which is to be called every few seconds.
    """

    def __init__(self) -> None:
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        self._observed: list[tuple[Metric, Look]] = []
        self._shown: dict[tuple[str, tuple[str, ...]], float] = {}  # what a counter that is observed has come to

    def record(self, metric: Metric, value: float, labels: Labels | None = None) -> None:
        """Put a value, in the metric's unit, into its histogram."""
        name = metric.prometheus_name
        if name not in self._histograms:
            self._histograms[name] = Histogram(name, metric.description, [*metric.bounds], metric.labels)
        self._histograms[name].observe(value, dict(labels or {}))

    def add(self, metric: Metric, value: float = 1, labels: Labels | None = None) -> None:
        """Add to a counter. Adding nothing shows that there is nothing yet."""
        name = metric.prometheus_name
        if name not in self._counters:
            self._counters[name] = Counter(name, metric.description, metric.labels)
        _count(self._counters[name], value, labels or {})

    def observe(self, metric: Metric, look: Look) -> None:
        """Have ``look`` called whenever `look` is, on the same thread."""
        self._observed.append((metric, look))

    def look(self) -> None:
        """Bring all that is observed up to date."""
        for metric, look in self._observed:
            for reading in look():
                if metric.kind == "counter":
                    self._come_to(metric, reading.value, reading.labels)
                else:
                    self._set(metric, reading.value, reading.labels)

    def _come_to(self, metric: Metric, value: float, labels: Labels) -> None:
        """Ray's counters are told differences."""
        series = metric.name, tuple(labels[name] for name in metric.labels)
        self.add(metric, max(value - self._shown.get(series, 0.0), 0.0), labels)
        self._shown[series] = value

    def _set(self, metric: Metric, value: float, labels: Labels) -> None:
        name = metric.prometheus_name
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, metric.description, metric.labels)
        self._gauges[name].set(value, dict(labels))


def _count(counter: Counter, value: float, labels: Labels) -> None:
    """Ray counts nothing less than something. But what is absent before it happens first cannot be seen to grow."""
    if value > 0:
        counter.inc(value, dict(labels))
    else:
        counter._record(0.0, dict(labels))  # noqa: SLF001  there is no other way
