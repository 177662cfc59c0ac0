"""The first board to look at: whether callers get what they are promised, and how fast the budgets melt."""

from __future__ import annotations

from typing import Final

from deployments.dashboards.board import Board, Row
from deployments.dashboards.objective import CLOUD_SEC, DEVICE_SEC, OBJECTIVES, TURN, Objective
from deployments.dashboards.panel import SHOWN, Query, lines, number, quantile, rate
from routing.telemetry.metrics import (
    CAPACITY,
    CONCEALED,
    CONNECT_DURATION,
    CONNECTIONS,
    ENDPOINT_DELAY,
    INTERRUPT_STOP,
    PLAYED,
    REFUSED_REQUESTS,
    SESSIONS,
    SESSIONS_MOVED,
    SKIPPED,
    TIME_TO_FIRST_AUDIO,
    TURNS,
    UNDERRUNS,
    VOICE_TO_VOICE,
)


def _late(bound_sec: float, where: str) -> Query:
    name = VOICE_TO_VOICE.prometheus_name
    in_time = rate(f"{name}_bucket", "target", where=f'le="{bound_sec}",{where}')
    return Query(f"1 - {in_time} / {rate(f'{name}_count', 'target', where=where)}", "{{target}}")


def _burn(objective: Objective) -> Query:
    return Query(f"{objective.record('1h')} / {objective.budget:g}", objective.name)


_NOW: Final = Row(
    "Now",
    (
        number("Callers", f"sum({SESSIONS.prometheus_name})", unit="short"),
        number(
            "Sessions taken",
            f"sum({SESSIONS.prometheus_name}) / sum({CAPACITY.prometheus_name})",
            unit="percentunit",
            limit=0.85,
        ),
        number("Turns a second", rate(TURNS.prometheus_name), unit="reqps"),
        number(
            "V2V p95",
            quantile(0.95, VOICE_TO_VOICE, window=SHOWN),
            unit="s",
            limit=CLOUD_SEC,
            description="0.6 s is aimed at",
        ),
        number("V2V p99", quantile(0.99, VOICE_TO_VOICE, window=SHOWN), unit="s", limit=1.5),
        number("Alerts", 'count(ALERTS{alertstate="firing"}) or vector(0)', unit="short", limit=1),
    ),
)
_PROMISES: Final = Row(
    "Promises",
    (
        lines(
            "How fast the budgets of thirty days melt",
            *map(_burn, OBJECTIVES),
            unit="short",
            limit=1,
            description="1: gone in thirty days. 14.4: two hundredths of it in an hour, and somebody is woken.",
        ),
        lines(
            "Replies that come too late, by who answers",
            _late(CLOUD_SEC, 'target!="device"'),
            _late(DEVICE_SEC, 'target="device"'),
            unit="percentunit",
            limit=TURN.budget,
            description=f"Later than {CLOUD_SEC} s, or {DEVICE_SEC} s where the device answers",
        ),
    ),
)
_FELT: Final = Row(
    "What callers feel",
    (
        lines(
            "Voice to voice",
            *(
                Query(quantile(level, VOICE_TO_VOICE), f"p{level * 100:g}", exemplars=True)
                for level in (0.5, 0.95, 0.99)
            ),
            unit="s",
            limit=CLOUD_SEC,
        ),
        lines(
            "Voice to voice p95, by who answered",
            Query(quantile(0.95, VOICE_TO_VOICE, "target"), "{{target}}", exemplars=True),
            unit="s",
        ),
        lines("Turns by how they ended", Query(rate(TURNS.prometheus_name, "outcome"), "{{outcome}}"), unit="reqps"),
        lines(
            "Waiting for the end of a turn, and for the first packet, p95",
            Query(quantile(0.95, ENDPOINT_DELAY, "reason"), "endpoint, {{reason}}"),
            Query(quantile(0.95, TIME_TO_FIRST_AUDIO, "target"), "first audio, {{target}}"),
            unit="s",
        ),
        lines(
            "Falling silent and connecting, p95",
            Query(quantile(0.95, INTERRUPT_STOP), "silence after an interruption"),
            Query(quantile(0.95, CONNECT_DURATION, "outcome"), "connecting, {{outcome}}"),
            unit="s",
        ),
        lines(
            "Which way connections go",
            Query(
                f"{rate(CONNECTIONS.prometheus_name, 'pair')} / on () group_left ()"
                f" ({rate(CONNECTIONS.prometheus_name)} > 0)",
                "{{pair}}",
            ),
            unit="percentunit",
            description="host: directly; srflx, prflx: through an address translator; relay: over a TURN server",
        ),
        lines(
            "Requests that were not let in",
            Query(rate(REFUSED_REQUESTS.prometheus_name, "reason"), "{{reason}}"),
            unit="reqps",
        ),
        lines(
            "Sessions that left draining edges, and came from them",
            Query(f"sum by (how) (increase({SESSIONS_MOVED.prometheus_name}[$__rate_interval]))", "{{how}}"),
            unit="short",
        ),
        lines(
            "Sound that had to be made up, and replies with holes",
            Query(rate(CONCEALED.prometheus_name, "direction"), "made up, {{direction}}"),
            Query(rate(UNDERRUNS.prometheus_name), "replies with holes"),
            unit="short",
            description="Seconds of sound, and replies, per second",
        ),
        lines(
            "Sound that was left out, because its time had passed",
            Query(f"{rate(SKIPPED.prometheus_name)} / {rate(PLAYED.prometheus_name)}", "of what was sent"),
            unit="percentunit",
            limit=0.001,
        ),
    ),
)

OVERVIEW: Final = Board(
    name="overview",
    title="Antiphon: overview",
    description="Whether callers get what they are promised",
    search="service=antiphon-edge&operation=voice.turn",
    runbook="TurnBudgetBurn",
    rows=(_NOW, _PROMISES, _FELT),
)
