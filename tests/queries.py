"""What a PromQL query may name: the metrics of our table with their labels, what rules record, and a few of others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import promql_parser
import yaml
from promql_parser import AggregateExpr, BinaryExpr, VectorSelector

from routing.telemetry.metrics import METRICS, Metric

RULES = Path(__file__).parent.parent / "configs" / "telemetry" / "rules"
SCRAPED = frozenset({"job", "instance"})  # what Prometheus itself puts on whatever it reads
SPAN = frozenset(
    {"service_name", "span_name", "span_kind", "status_code", "voice_route_target", "voice_turn_outcome"}
)  # and the dimensions of collector-agent.yaml

RECORDED = [
    rule["record"]
    for path in sorted(RULES.glob("*.yaml"))
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
    if "record" in rule
]

OTHERS: Mapping[str, frozenset[str]] = {
    "up": frozenset(),
    "ALERTS": frozenset({"alertname", "alertstate", "severity", "slo", "burn"}),
    "traces_span_metrics_calls_total": SPAN,
    "traces_span_metrics_duration_seconds_bucket": SPAN | {"le"},
    "otelcol_receiver_accepted_spans_total": frozenset({"receiver", "transport"}),
    "otelcol_receiver_refused_spans_total": frozenset({"receiver", "transport"}),
    "otelcol_exporter_sent_spans_total": frozenset({"exporter"}),
    "otelcol_exporter_send_failed_spans_total": frozenset({"exporter"}),
    "otelcol_exporter_enqueue_failed_spans_total": frozenset({"exporter"}),
    "otelcol_processor_tail_sampling_sampling_trace_dropped_too_early_total": frozenset(),
    "otelcol_processor_tail_sampling_global_count_traces_sampled_total": frozenset({"sampled", "decision"}),
}  # of Prometheus and of the collectors


def _series(metric: Metric) -> Iterator[tuple[str, frozenset[str]]]:
    labels = frozenset(metric.labels)
    for prefix in {"edge": [""], "cloud": ["ray_"], "both": ["", "ray_"]}[metric.place]:
        name = prefix + metric.prometheus_name
        if metric.kind == "histogram":
            yield from {f"{name}_bucket": labels | {"le"}, f"{name}_count": labels}.items()
            if not prefix:  # Ray guesses its sums from the middles of buckets: means of them would be wrong
                yield f"{name}_sum", labels
        else:
            yield name, labels


KNOWN: Mapping[str, frozenset[str]] = {
    **dict(series for metric in METRICS for series in _series(metric)),
    **dict.fromkeys(RECORDED, frozenset[str]()),
    **OTHERS,
}


def unknown_names(query: str) -> list[str]:
    """What the query names and nobody tells: metrics, and labels of the metrics that it names. It must parse."""
    expression = promql_parser.parse(query)
    selectors, grouped = _named(expression)
    unknown = [str(selector.name) for selector in selectors if selector.name not in KNOWN]
    known = {str(selector.name): KNOWN[str(selector.name)] | SCRAPED for selector in selectors if not unknown}
    for selector in selectors if known else ():
        labels = {matcher.name for matcher in selector.matchers.matchers}
        unknown += [f"{selector.name}{{{label}}}" for label in labels - known[str(selector.name)]]
    return unknown + sorted(grouped - SCRAPED.union(*known.values()) if known else ())


def _named(expression: promql_parser.Expr) -> tuple[list[VectorSelector], set[str]]:
    """The series that an expression selects, and the labels by which it groups and matches them."""
    selectors: list[VectorSelector] = []
    grouped: set[str] = set()

    def visit(node: promql_parser.Expr) -> None:
        match node:
            case VectorSelector():
                selectors.append(node)
            case AggregateExpr() if node.modifier:
                grouped.update(node.modifier.labels)
            case BinaryExpr() if node.modifier and node.modifier.matching:
                grouped.update(node.modifier.matching.labels)

    promql_parser.walk(expression, visit)
    return selectors, grouped
