"""What the router decides, and whether it was right."""

from __future__ import annotations

from typing import Final

from deployments.dashboards.board import Board, Row
from deployments.dashboards.panel import Query, lines, quantile, rate, span_quantile
from routing.telemetry import names
from routing.telemetry.metrics import (
    CIRCUIT,
    DECISIONS,
    PREDICTION_ERROR,
    REGRET,
    SWITCHES,
    TURNS,
    VOICE_TO_VOICE,
    WASTE,
)

_DECISIONS: Final = DECISIONS.prometheus_name

_CHOICES: Final = Row(
    "Choices",
    (
        lines(
            "Who answers",
            Query(f"{rate(_DECISIONS, 'target')} / on () group_left () {rate(_DECISIONS)}", "{{target}}"),
            unit="percentunit",
        ),
        lines("Why", Query(rate(_DECISIONS, "reason"), "{{reason}}"), unit="reqps"),
        lines(
            "Turns that one backend took over from another",
            Query(rate(SWITCHES.prometheus_name, "target, reason"), "to {{target}}: {{reason}}"),
            unit="reqps",
        ),
        lines(
            "Turns that were saved",
            Query("voice:fallback:share10m", "of the last ten minutes"),
            Query("voice:fallback:share1d", "of the last day"),
            unit="percentunit",
        ),
        lines(
            "Backends that are left alone",
            Query(f"max by (target) ({CIRCUIT.prometheus_name})", "{{target}}"),
            unit="short",
            limit=1,
            description="0: asked as ever; 1: asked now and then, to see whether it is well again; 2: not asked",
        ),
    ),
)
_JUDGED: Final = Row(
    "Whether they were right",
    (
        lines(
            "How far predictions were off",
            *(
                Query(quantile(level, PREDICTION_ERROR, "target"), f"{{{{target}}}} p{level * 100:g}", exemplars=True)
                for level in (0.5, 0.95)
            ),
            unit="s",
        ),
        lines(
            "Regret",
            *(Query(quantile(level, REGRET), f"p{level * 100:g}", exemplars=True) for level in (0.5, 0.95, 0.99)),
            unit="s",
            description="What the best backend in hindsight would have saved",
        ),
        lines(
            "Work for answers that nobody heard",
            Query(rate(WASTE.prometheus_name, "target"), "{{target}}"),
            unit="s",
            description="Seconds of work per second",
        ),
        lines(
            "... and for each turn",
            Query(f"{rate(WASTE.prometheus_name)} / ({rate(TURNS.prometheus_name)} > 0)", "seconds a turn"),
            unit="s",
        ),
        lines(
            "Voice to voice p95, by who answered",
            Query(quantile(0.95, VOICE_TO_VOICE, "target"), "{{target}}", exemplars=True),
            unit="s",
        ),
        lines(
            "Attempts, p95",
            Query(
                span_quantile(0.95, f'span_name=~"{names.GENERATE} .+|{names.INFER_REQUEST}"'),
                "{{span_name}}",
                exemplars=True,
            ),
            unit="s",
            description="Speculations and losers of a race too",
        ),
    ),
)

ROUTER: Final = Board(
    name="router",
    title="Antiphon: router",
    description="What the router decides, and whether it was right",
    search="service=antiphon-edge&operation=route.decide",
    runbook="CloudShareFell",
    rows=(_CHOICES, _JUDGED),
)
