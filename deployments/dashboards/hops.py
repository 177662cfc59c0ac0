"""Rate, errors and duration of every hop: the edge, the way to the cloud, its door, the replicas, the models."""

from __future__ import annotations

from typing import Final

from deployments.dashboards.board import Board, Row
from deployments.dashboards.objective import RAY
from deployments.dashboards.panel import CALLS, Query, lines, quantile, rate, span_quantile
from routing.telemetry import names
from routing.telemetry.metrics import REFUSED, REQUEST_DURATION, TIME_PER_TOKEN, TIME_TO_FIRST_TOKEN

_FAILED: Final = 'status_code="STATUS_CODE_ERROR"'


def _hop(title: str, where: str) -> Row:
    return Row(
        title,
        (
            lines("Rate", Query(rate(CALLS, "span_name", where=where), "{{span_name}}"), unit="reqps", width=8),
            lines(
                "Errors",
                Query(rate(CALLS, "span_name", where=f"{where},{_FAILED}"), "{{span_name}}"),
                unit="reqps",
                width=8,
            ),
            lines(
                "Duration p95", Query(span_quantile(0.95, where), "{{span_name}}", exemplars=True), unit="s", width=8
            ),
        ),
    )


_SPANS: Final = {
    "Turns at the edge": f'service_name="{names.EDGE}",span_name="{names.TURN}"',
    "Connections": f'service_name="{names.EDGE}",span_name="{names.CONNECT}"',
    "From the edge to the cloud": f'span_name=~"{names.INFER_REQUEST}|{names.CLOUD_CONNECT}"',
    "The cloud's door": f'service_name="{names.INGRESS}",span_name=~"{names.INGRESS_TURN}|{names.REPLICA_REQUEST}"',
    "Models, wherever they run": f'span_name=~"{names.GENERATE} .+"',
}
_COUNTED: Final = Row(
    "Models, as they count themselves",
    (
        lines(
            "Answers and refusals",
            Query(rate(f"{REQUEST_DURATION.prometheus_name}_count", "model, outcome"), "edge, {{model}}: {{outcome}}"),
            Query(
                rate(f"{RAY}{REQUEST_DURATION.prometheus_name}_count", "model, outcome"),
                "cloud, {{model}}: {{outcome}}",
            ),
            Query(rate(RAY + REFUSED.prometheus_name), "refused"),
            unit="reqps",
            width=8,
        ),
        lines(
            "First token p95",
            Query(quantile(0.95, TIME_TO_FIRST_TOKEN, "model"), "edge, {{model}}", exemplars=True),
            Query(quantile(0.95, TIME_TO_FIRST_TOKEN, "model", ray=True), "cloud, {{model}}"),
            unit="s",
            width=8,
            limit=0.25,
        ),
        lines(
            "Step p95",
            Query(quantile(0.95, TIME_PER_TOKEN, "model", ray=True), "cloud, {{model}}"),
            unit="s",
            width=8,
            limit=0.0533,
            description="Above 53.3 ms LFM2-Audio falls behind its own speech",
        ),
    ),
)

HOPS: Final = Board(
    name="hops",
    title="Antiphon: hops",
    description="Rate, errors and duration of every hop of a turn",
    search="service=antiphon-edge&tags=%7B%22error%22%3A%22true%22%7D",
    runbook="FirstTokenBudgetBurn",
    rows=(*(_hop(title, where) for title, where in _SPANS.items()), _COUNTED),
)
