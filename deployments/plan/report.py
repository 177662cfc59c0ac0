"""What a plan has come to: tables for people, JSON for programs, and a page with plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from deployments.plan.deployment import Outcome
from deployments.plan.needs import most_slots, step_bound_sec
from deployments.plan.settings import PlanSettings
from deployments.plan.tally import STRETCHES, Tail
from deployments.plan.traffic import traffic
from routing.report_page import Cell, ReportPage

HOURS = "hour of the day"
MS = 1000


class Row(NamedTuple):
    """One figure, for each scale."""

    name: str
    cells: list[Cell]


class Table(NamedTuple):
    """Figures of one kind."""

    title: str
    headings: list[str]
    rows: list[Row]


def tables(settings: PlanSettings, outcomes: Sequence[Outcome]) -> list[Table]:
    """What callers feel, what it takes, what happened and what it costs."""
    headings = ["", *(outcome.scale.name for outcome in outcomes)]
    parts = {
        "What callers feel": _felt,
        "What it takes, as played": _taken,
        "What it takes at the busiest time, by arithmetic": _needed,
        "What happened in the cells that were played": _happened,
        "What it costs an hour, at the example prices of the settings": _paid,
    }
    return [
        Table(title, headings, _rows([part(settings, outcome) for outcome in outcomes]))
        for title, part in parts.items()
    ]


def _rows(columns: Sequence[dict[str, Cell]]) -> list[Row]:
    return [Row(name, [column[name] for column in columns]) for name in columns[0]]


def _felt(_: PlanSettings, outcome: Outcome) -> dict[str, Cell]:
    return {
        "V2V p50, p95, p99, ms": _three(outcome.v2v),
        "TTFA p50, p95, p99, ms": _three(outcome.first_audio),
        "wait for a slot p50, p95, p99, ms": _three(outcome.queue_wait),
        "answered by the cloud": _percent(outcome.share("cloud")),
        "answered by the device": _percent(outcome.share("device")),
        "of these, as they had to": _percent(outcome.share("private")),
        "refused": _percent(outcome.share("refused")),
        "begun again after a failure": _percent(outcome.share("retried")),
        "silence then, p50, p95, p99, ms": _three(outcome.gap),
        "lost with their edge": _percent(outcome.share("lost")),
        "calls refused": _percent(outcome.played.counts.calls_refused / max(1, outcome.played.counts.calls)),
    }


def _taken(settings: PlanSettings, outcome: Outcome) -> dict[str, Cell]:
    series, gpus = outcome.series, settings.replicas.gpus
    return {
        "sessions, mean": round(_mean(series.sessions)),
        "sessions, most": round(max(series.sessions)),
        "replicas, mean": round(_mean(series.alive)),
        "replicas, most": round(max(series.alive)),
        "GPUs, most": round(gpus * max(series.alive)),
        "slots in use, mean": round(_mean(series.occupied)),
        "share of ready slots in use, mean": _percent(sum(series.occupied) / max(1.0, sum(series.slots))),
        "edges, mean": round(_mean(series.gateways)),
        "edges, most": round(max(series.gateways)),
    }


def _needed(settings: PlanSettings, outcome: Outcome) -> dict[str, Cell]:
    needs = outcome.needs
    return {
        "cells": outcome.scale.cells(settings.day.hours),
        "turns a second": needs.turns_per_sec,
        "slots in use": round(needs.slots),
        "replicas": needs.replicas,
        "GPUs": round(needs.gpus),
        "edges": needs.gateways,
        "cores of edges": round(needs.gateway_cores),
        "GiB of edges": round(needs.gateway_gib),
        "Gbit/s to callers": needs.egress_bits / 1e9,
        "Gbit/s from callers": needs.ingress_bits / 1e9,
        "Gbit/s between edges and replicas": needs.cloud_bits / 1e9,
        "calls through TURN": round(needs.relayed_calls),
        "TURN relays": needs.relays,
        "spans a second": round(needs.spans_per_sec),
        "spans a second that are kept": round(needs.kept_spans_per_sec),
        "collectors": needs.collectors,
    }


def _happened(_: PlanSettings, outcome: Outcome) -> dict[str, Cell]:
    counts = outcome.played.counts
    return {
        "cells played": outcome.played.cells,
        "turns asked": counts.asked,
        "turns still open at the end": counts.open,
        "calls": counts.calls,
        "replicas that died": counts.replicas_failed,
        "edges that died": counts.gateways_failed,
        "calls that called again": counts.calls_back,
        "calls handed over by an edge that drained": counts.handed_over,
        "between cells, slots in use differ by": _percent(outcome.spread) if outcome.played.cells > 1 else None,
    }


def _paid(_: PlanSettings, outcome: Outcome) -> dict[str, Cell]:
    cost, sessions = outcome.mean_cost, max(1.0, _mean(outcome.series.sessions))
    return {
        "GPUs, mean": cost.gpus,
        "cores of edges": cost.cores,
        "memory of edges": cost.memory,
        "egress": cost.egress,
        "together, mean": cost.total,
        "together, most": outcome.peak_cost,
        "for a session and hour": cost.total / sessions,
        "for 1,000 minutes of a session": cost.total / sessions / 60 * 1000,
    }


def _three(tail: Tail) -> str:
    return " / ".join(f"{MS * value:.0f}" for value in tail)


def _percent(share: float) -> str:
    return "0" if share == 0 else f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.1f} %"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def remarks(settings: PlanSettings) -> list[str]:
    """What a reader must know of the figures."""
    replicas, day = settings.replicas, settings.day
    step_ms, bound_ms = MS * replicas.step_sec(replicas.slots), MS * step_bound_sec()
    slots = most_slots(replicas.step_base_sec, replicas.step_row_sec) if replicas.step_row_sec else replicas.slots
    step = f"A step of {step_ms:.1f} ms with {replicas.slots} replies in it is assumed: no GPU was measured."
    of_call = traffic(settings)
    packet = f"A packet of sound has {of_call.packet_bytes:.0f} bytes on the wire"
    return [
        f"A day is played in {day.played_sec:g} s: load rises and falls {day.speed:.3g} times as fast as it will.",
        f"{step} It must stay under {bound_ms:.1f} ms; three quarters of that would allow {slots} slots.",
        f"{packet}: {of_call.down / 1000:.1f} kbit/s to a caller.",
        "Prices are examples, in units of money; they are nobody's quotes.",
        "Cells share nothing: those that were not played follow those that were.",
    ]


def as_json(settings: PlanSettings, outcomes: Sequence[Outcome], *, seed: int) -> dict[str, Any]:
    """The whole plan as plain values. The same settings and seed give the same."""
    return {
        "seed": seed,
        "settings": settings.model_dump(mode="json"),
        "remarks": remarks(settings),
        "scales": {outcome.scale.name: _outcome_json(settings, outcome) for outcome in outcomes},
    }


def _outcome_json(settings: PlanSettings, outcome: Outcome) -> dict[str, Any]:
    waits = {
        "v2v": outcome.v2v,
        "first_audio": outcome.first_audio,
        "queue_wait": outcome.queue_wait,
        "gap": outcome.gap,
    }
    over = ("cloud", "device", "private", "refused", "retried", "lost")
    return {
        "cells": outcome.scale.cells(settings.day.hours),
        "cells_played": outcome.played.cells,
        "spread": outcome.spread,
        "turns": asdict(outcome.played.counts) | {"open": outcome.played.counts.open},
        "shares": {name: outcome.share(name) for name in over},
        "waits_ms": {name: {key: MS * value for key, value in tail._asdict().items()} for name, tail in waits.items()},
        "needs": asdict(outcome.needs) | {"cost": asdict(outcome.needs.cost)},
        "cost_per_hour": asdict(outcome.mean_cost) | {"total": outcome.mean_cost.total, "most": outcome.peak_cost},
        "series": asdict(outcome.series) | {"v2v": [[MS * value for value in tail] for tail in outcome.series.v2v]},
    }


# -- the page ----------------------------------------------------------------------------------------------------------


def as_page(settings: PlanSettings, outcomes: Sequence[Outcome], *, seed: int) -> str:
    """One HTML file.

    Raises:
        SettingsError: the package that draws is not installed.
    """
    page = ReportPage("Antiphon: capacity plan")
    page.paragraph(f"Simulated with seed {seed}, for {', '.join(outcome.scale.name for outcome in outcomes)} sessions.")
    for remark in remarks(settings):
        page.paragraph(remark)
    for table in tables(settings, outcomes):
        page.heading(table.title)
        page.table(table.headings, [[row.name, *row.cells] for row in table.rows])
    for outcome in outcomes:
        _plots(page, outcome)
    return page.html()


def _plots(page: ReportPage, outcome: Outcome) -> None:
    series, name = outcome.series, outcome.scale.name
    page.heading(f"{name}: a day")
    page.lines(
        {"sessions": (series.hours, series.sessions)}, caption="Sessions in progress.", across=HOURS, up="sessions"
    )
    page.lines(
        {"wanted": (series.hours, series.wanted), "ready": (series.hours, series.ready)},
        caption="Replicas that the policy wants, and those that are ready.",
        across=HOURS,
        up="replicas",
        steps=True,
    )
    page.lines(
        {"in use": (series.hours, series.occupied), "of ready replicas": (series.hours, series.slots)},
        caption="Slots.",
        across=HOURS,
        up="slots",
    )
    page.lines(
        {"edges": (series.hours, series.gateways)}, caption="Pods of edges.", across=HOURS, up="pods", steps=True
    )
    page.lines(
        {
            label: (series.hours, [MS * tail[index] for tail in series.v2v])
            for index, label in enumerate(("p50", "p95", "p99"))
        },
        caption="From voice to voice: the caller's last sample to the first one heard of the reply.",
        across=HOURS,
        up="V2V, ms",
    )
    page.lines(
        {
            "device": (series.hours, [100 * share for share in series.device]),
            "refused or lost": (series.hours, [100 * share for share in series.refused]),
        },
        caption="Turns by what became of them; the cloud answered the others.",
        across=HOURS,
        up="% of turns",
    )
    page.lines(
        {"died": (series.hours, series.failures)},
        caption="Replicas and edges that died. Chance has as long for it as the day is played, and not a whole day.",
        across=HOURS,
        up=f"in {outcome.played.seconds / STRETCHES:.3g} s",
        steps=True,
    )
    page.lines(
        {"cost": (series.hours, series.cost)},
        caption="At the example prices of the settings.",
        across=HOURS,
        up="units of money an hour",
    )
