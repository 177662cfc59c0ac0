"""Where the time of a turn goes, phase by phase, in the order in which they follow each other."""

from __future__ import annotations

from typing import Final

from deployments.dashboards.board import Board, Row
from deployments.dashboards.panel import SHOWN, Query, bars, lines, quantile, span_quantile
from routing.telemetry import names
from routing.telemetry.metrics import ENDPOINT_DELAY, QUEUE_WAIT, TIME_TO_FIRST_AUDIO, TIME_TO_FIRST_TOKEN

WORK: Final = (
    names.QUEUE_WAIT,
    names.AUDIO_ENCODE,
    names.PREFILL,
    names.FIRST_TEXT,
    names.FIRST_AUDIO,
    names.CLOUD_CONNECT,
    names.ENDPOINT_JUDGE,
    names.ROUTE_DECIDE,
)


def _any_of(spans: tuple[str, ...]) -> str:
    return f'span_name=~"{"|".join(spans)}"'


_WATERFALL: Final = Row(
    "What callers wait for",
    (
        bars(
            "Waits, p95",
            Query(span_quantile(0.95, _any_of(names.VOICE_TO_VOICE), window=SHOWN), "{{span_name}}"),
            unit="s",
        ),
        bars(
            "Work behind them, p95", Query(span_quantile(0.95, _any_of(WORK), window=SHOWN), "{{span_name}}"), unit="s"
        ),
        *(
            lines(
                f"{span}",
                *(
                    Query(span_quantile(level, f'span_name="{span}"', ""), f"p{level * 100:g}", exemplars=True)
                    for level in (0.5, 0.95, 0.99)
                ),
                unit="s",
                width=6,
            )
            for span in names.VOICE_TO_VOICE
        ),
    ),
)
_WHOLE: Final = Row(
    "The whole of it",
    (
        lines(
            "Turns until they were heard out, p95",
            Query(
                span_quantile(0.95, f'span_name="{names.TURN}"', "voice_route_target"),
                "{{voice_route_target}}",
                exemplars=True,
            ),
            unit="s",
            description="From the first sound of the user; the spoken answer is in it",
        ),
        lines(
            "As the programs count it, p95",
            Query(quantile(0.95, ENDPOINT_DELAY), "endpoint wait", exemplars=True),
            Query(quantile(0.95, TIME_TO_FIRST_AUDIO), "first audio", exemplars=True),
            Query(quantile(0.95, TIME_TO_FIRST_TOKEN), "first token, seen from the edge"),
            Query(quantile(0.95, TIME_TO_FIRST_TOKEN, ray=True), "first token, at the replicas"),
            Query(quantile(0.95, QUEUE_WAIT, ray=True), "queue"),
            unit="s",
        ),
    ),
)

TURN: Final = Board(
    name="turn",
    title="Antiphon: a turn's waits",
    description="Every wait by its name; the same phases as in a trace and on the page",
    search="service=antiphon-edge&operation=voice.turn&minDuration=2s",
    runbook="TurnBudgetBurn",
    rows=(_WATERFALL, _WHOLE),
)
