"""What a scrape gets: the metrics of the table as Prometheus text or as OpenMetrics, the latter with exemplars.

OpenTelemetry's own exporter for Prometheus leaves exemplars out, so what its SDK has counted is read here and written
by Prometheus' client.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Final, NamedTuple

from opentelemetry.sdk.metrics import Exemplar as Seen
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, MetricReader, NumberDataPoint
from opentelemetry.sdk.metrics.export import Metric as Found
from opentelemetry.util.types import Attributes
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from routing.telemetry.metrics import METRICS, Metric

OPEN_METRICS: Final = "application/openmetrics-text"
_TABLE: Final[Mapping[str, Metric]] = {metric.name: metric for metric in METRICS}
_AS_IT_IS: Final = openmetrics.ALLOWUTF8  # our names need no escaping, and looking for it takes half of the time
_END: Final = "# EOF\n"

type Labels = dict[str, str]


class Scrape(NamedTuple):
    """``text`` is written in ``media_type``, the value of a Content-Type header."""

    text: str
    media_type: str


class Exposition:
    """Reads what one program has counted. Its ``reader`` belongs to the meter provider of that program.

    `scrape` takes some milliseconds: call it on a thread. Each bucket keeps its last exemplar, however many scrape.
    """

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._exemplars: dict[tuple[str, tuple[str, ...], int], Exemplar] = {}

    @property
    def reader(self) -> MetricReader:
        return self._reader

    def scrape(self, *, accept: str = "", labels: Mapping[str, str] | None = None) -> Scrape:
        """All there is now, in what the Accept header asks for; ``labels`` go on every sample."""
        families = _Families(self._families(dict(labels or {})))
        if OPEN_METRICS in accept:
            text = openmetrics.generate_latest(families, escaping=_AS_IT_IS)  # type: ignore[no-untyped-call]
            return Scrape(text.decode(), openmetrics.CONTENT_TYPE_LATEST)
        return Scrape(generate_latest(families, escaping=_AS_IT_IS).decode(), CONTENT_TYPE_PLAIN_0_0_4)

    def _families(self, common: Labels) -> Iterator[Family]:
        for found in self._found():
            if metric := _TABLE.get(found.name):
                yield self._family(metric, found.data.data_points, common)
                time.sleep(0)  # lets go of the interpreter: the event loop waits for a family, not for all

    def _found(self) -> list[Found]:
        data = self._reader.get_metrics_data()
        resources = data.resource_metrics if data else ()
        return [found for resource in resources for scope in resource.scope_metrics for found in scope.metrics]

    def _family(self, metric: Metric, points: Iterable[object], common: Labels) -> Family:
        name = metric.prometheus_name.removesuffix("_total")
        family = Family(name, metric.description, metric.kind, metric.prometheus_unit)
        for point in points:
            match point:
                case HistogramDataPoint():
                    self._add_buckets(family, common | _texts(point.attributes), point)
                case NumberDataPoint():
                    self._add_number(family, common | _texts(point.attributes), point)
        return family

    def _add_number(self, family: Family, labels: Labels, point: NumberDataPoint) -> None:
        if family.type == "counter":
            exemplar = self._exemplar(family, labels, 0, point.exemplars)
            family.add_sample(f"{family.name}_total", labels, point.value, exemplar=exemplar)
        else:
            family.add_sample(family.name, labels, point.value)

    def _add_buckets(self, family: Family, labels: Labels, point: HistogramDataPoint) -> None:
        edges = (*point.explicit_bounds, math.inf)
        seen = _by_bucket(point.exemplars, edges)
        for index, (edge, count) in enumerate(zip(edges, accumulate(point.bucket_counts), strict=True)):
            exemplar = self._exemplar(family, labels, index, seen.get(index, ()))
            family.add_sample(f"{family.name}_bucket", labels | {"le": _text(edge)}, count, exemplar=exemplar)
        family.add_sample(f"{family.name}_count", labels, point.count)
        family.add_sample(f"{family.name}_sum", labels, point.sum)

    def _exemplar(self, family: Family, labels: Labels, bucket: int, seen: Iterable[Seen]) -> Exemplar | None:
        """The last one of a bucket. OpenTelemetry tells each of them to one reader once."""
        place = family.name, tuple(labels.values()), bucket
        for each in seen:
            self._exemplars[place] = Exemplar(_ids(each), each.value, each.time_unix_nano / 1e9)
        return self._exemplars.get(place)


def merged(texts: Iterable[str]) -> str:
    """Scrapes of several programs as one, in the same format; their labels must tell them apart."""
    families: dict[str, list[str]] = {}
    end = ""
    for text in texts:
        end = _END if text.endswith(_END) else ""
        _take_apart(text, families)
    return "".join(head + "".join(samples) for head, samples in families.items()) + end


def _take_apart(text: str, families: dict[str, list[str]]) -> None:
    """Put the samples of a scrape behind what is told of their family, which is the same for all programs."""
    head = ""
    for line in text.removesuffix(_END).split("\n")[:-1]:
        if line.startswith("# HELP "):
            head = ""
        if line.startswith("# "):
            head += f"{line}\n"
            continue
        families.setdefault(head, []).append(f"{line}\n")


# -- in Prometheus' words ----------------------------------------------------------------------------------------------


class _Families(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


def _texts(attributes: Attributes) -> Labels:
    return {name: str(value) for name, value in (attributes or {}).items()}


def _text(edge: float) -> str:
    """With a fraction, also where there is none: Prometheus 3 compares the text."""
    return "+Inf" if edge == math.inf else repr(float(edge))


def _by_bucket(seen: Iterable[Seen], edges: tuple[float, ...]) -> dict[int, list[Seen]]:
    buckets: dict[int, list[Seen]] = {}
    for each in seen:
        buckets.setdefault(bisect_left(edges, each.value), []).append(each)
    return buckets


def _ids(seen: Seen) -> Labels:
    return {"trace_id": f"{seen.trace_id or 0:032x}", "span_id": f"{seen.span_id or 0:016x}"}
