"""How much of what there is is used, and what is too much: loops, sessions, slots, processors, memory, GPUs, power."""

from __future__ import annotations

from typing import Final

from deployments.dashboards.board import Board, Row
from deployments.dashboards.objective import RAY
from deployments.dashboards.panel import INTERVAL, Query, lines, quantile, rate
from routing.telemetry.metrics import (
    BATCH_SIZE,
    CAPACITY,
    CPU_TIME,
    DROPPED_SPANS,
    ENERGY,
    GPU_UTILIZATION,
    LOOP_LAG,
    MEMORY,
    POWER,
    QUEUE_WAIT,
    REFUSED,
    SESSIONS,
    SLOTS,
    SLOTS_IN_USE,
    START_DURATION,
    TURNS,
    Metric,
)


def _both(metric: Metric, by: str) -> tuple[Query, Query]:
    """Of edges and of replicas."""
    label = f"{{{{{by}}}}}"
    edge, cloud = metric.prometheus_name, RAY + metric.prometheus_name
    if metric.kind == "counter":
        return Query(rate(edge, by), f"edge {label}"), Query(rate(cloud, by), f"cloud {label}")
    return Query(f"sum by ({by}) ({edge})", f"edge {label}"), Query(f"sum by ({by}) ({cloud})", f"cloud {label}")


def _fullness(used: Metric, there: Metric, prefix: str = "") -> str:
    return f"sum({prefix}{used.prometheus_name}) / sum({prefix}{there.prometheus_name})"


def _metered(metric: Metric, by: str) -> tuple[Query, Query]:
    """Of machines, which several programs may read: each tells the same, and is counted once."""
    edge, cloud = (_once(prefix + metric.prometheus_name) for prefix in ("", RAY))
    label = f"{{{{{by}}}}}"
    return Query(f"sum by ({by}) ({edge})", f"edge {label}"), Query(f"sum by ({by}) ({cloud})", f"cloud {label}")


def _once(readings: str) -> str:
    return f"max by (instance, hw_id, source) ({readings})"


_ENERGY: Final = _once(f"rate({ENERGY.prometheus_name}[{INTERVAL}])")
_CLOUD_ENERGY: Final = _once(f"rate({RAY}{ENERGY.prometheus_name}[{INTERVAL}])")

_TWICE: Final = "A machine with an edge and replicas counts twice."

_ROOM: Final = Row(
    "Room",
    (
        lines(
            "Sessions and slots that are taken",
            Query(_fullness(SESSIONS, CAPACITY), "sessions"),
            Query(_fullness(SLOTS_IN_USE, SLOTS, RAY), "slots"),
            unit="percentunit",
            limit=0.85,
        ),
        lines(
            "Waiting for a slot",
            *(Query(quantile(level, QUEUE_WAIT, ray=True), f"p{level * 100:g}") for level in (0.5, 0.95, 0.99)),
            unit="s",
            limit=0.1,
        ),
        lines("Turns that found no place", Query(rate(RAY + REFUSED.prometheus_name), "refused"), unit="reqps"),
        lines(
            "Turns in a step",
            *(Query(quantile(level, BATCH_SIZE, ray=True), f"p{level * 100:g}") for level in (0.5, 0.95)),
            unit="short",
        ),
    ),
)
_MACHINES: Final = Row(
    "Machines",
    (
        lines(
            "How late event loops are",
            Query(f"max by (percentile) ({LOOP_LAG.prometheus_name})", "p{{percentile}}"),
            unit="s",
            limit=0.02,
            description="All sound of an edge passes through one loop, a packet every 20 ms",
        ),
        lines("Processors", *_both(CPU_TIME, "instance"), unit="short", description="Cores at work"),
        lines(
            "How long it took to be ready",
            Query(f"max by (instance) ({START_DURATION.prometheus_name})", "edge {{instance}}"),
            Query(f"max by (instance) ({RAY}{START_DURATION.prometheus_name})", "cloud {{instance}}"),
            unit="s",
            description="The slowest there: what is added when it gets busy helps no sooner than after this",
        ),
        lines("Memory", *_both(MEMORY, "instance"), unit="bytes"),
        lines(
            "GPUs at work",
            Query(f"max by (instance, hw_id) ({GPU_UTILIZATION.prometheus_name})", "edge {{instance}} {{hw_id}}"),
            Query(f"max by (instance, hw_id) ({RAY}{GPU_UTILIZATION.prometheus_name})", "cloud {{instance}} {{hw_id}}"),
            unit="percentunit",
        ),
        lines(
            "Power",
            *_metered(POWER, "source"),
            unit="watt",
            description=f"By meters; nothing where there are none. {_TWICE}",
        ),
        lines(
            "Energy for a turn",
            Query(f"(sum({_ENERGY} or {_CLOUD_ENERGY})) / ({rate(TURNS.prometheus_name)} > 0)", "all machines"),
            unit="joule",
            description=f"All energy of the machines, divided by the turns of the same time. {_TWICE}",
        ),
    ),
)
_SEEING: Final = Row(
    "What is seen of all this",
    (
        lines("Spans that were lost on the way", *_both(DROPPED_SPANS, "why"), unit="short", description="A second"),
        lines(
            "Collectors",
            Query(rate("otelcol_receiver_accepted_spans_total"), "received"),
            Query(rate("otelcol_exporter_sent_spans_total", "exporter"), "sent, {{exporter}}"),
            Query(rate("otelcol_exporter_send_failed_spans_total", "exporter"), "lost, {{exporter}}"),
            Query(
                rate("otelcol_processor_tail_sampling_sampling_trace_dropped_too_early_total"),
                "traces without a decision",
            ),
            unit="short",
            description="Spans a second",
        ),
    ),
)

MACHINES: Final = Board(
    name="machines",
    title="Antiphon: machines",
    description="Utilisation, saturation and errors of what Antiphon runs on",
    search="service=antiphon-replica",
    runbook="EventLoopLate",
    rows=(_ROOM, _MACHINES, _SEEING),
)
