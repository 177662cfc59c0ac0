"""What a load has shown: tables for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from rich.markup import escape
from rich.table import Table

from edge_client.caller.report import ABSENT, Conditions
from edge_client.load.figures import Costs, LoadFigures, costs_of, figures_of
from edge_client.load.leak import Finding
from edge_client.load.plan import LoadPlan
from edge_client.load.record import LoadRecord
from edge_client.quantiles import Tail

MEGABYTE: Final = 1e6
WAITS: Final[Mapping[str, str]] = {
    "v2v_ms": "V2V",
    "ttfa_ms": "TTFA at the caller",
    "tpot_ms": "TPOT at the caller",
    "server_ttfa_ms": "TTFA, says the server",
    "endpoint_wait_ms": "endpoint wait, says the server",
}
MOST_ERRORS: Final = 12  # kinds that are listed


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """A run. ``before`` and ``after`` are the server's figures without any call; ``findings`` are those of a soak."""

    plan: LoadPlan
    conditions: Conditions
    record: LoadRecord
    processes: int
    before: Mapping[str, float] = field(default_factory=dict)
    after: Mapping[str, float] = field(default_factory=dict)
    findings: Sequence[Finding] = ()

    @property
    def figures(self) -> LoadFigures:
        return figures_of(self.record)

    @property
    def costs(self) -> Costs:
        return costs_of(self.record.samples, before=self.before)

    @property
    def leaked(self) -> bool:
        return any(finding.leaked for finding in self.findings)


# -- for people --------------------------------------------------------------------------------------------------------


def waits_table(figures: LoadFigures) -> Table:
    """Middle and tails of each wait that could be measured."""
    table = Table(title="Times in ms", title_justify="left")
    table.add_column("")
    for heading in Tail._fields:
        table.add_column(heading, justify="right")
    for name, tail in waits(figures).items():
        table.add_row(name, *(f"{value:.0f}" for value in tail))
    return table


def waits(figures: LoadFigures) -> dict[str, Tail]:
    """The waits that somebody had, by their names for people."""
    tails = {"connect": figures.connect_ms} | {WAITS[name]: tail for name, tail in figures.tails.items()}
    return {name: tail for name, tail in tails.items() if tail}


def remarks(report: LoadReport) -> list[str]:
    """The counts, what it took, and the conditions: a line each."""
    figures, costs = report.figures, report.costs
    return [
        f"calls: {figures.calls} made, {figures.failed} failed, {_refused(figures)}, {figures.resumed} resumed",
        f"turns: {figures.answered} of {figures.turns} answered, {figures.missed} missed, {figures.early} early",
        f"sound: {figures.underruns} underruns in {figures.starved_turns} replies, {figures.starved_ms:.0f} ms in all",
        f"packets of sound: {figures.lost} lost, {figures.concealed} concealed",
        f"server: {shown_costs(costs)}",
        f"callers: {shown(costs.callers_cores, '{:.2f} cores')} in {report.processes} processes, {_lateness(report)}",
        f"machine: {report.conditions} at the start",
    ]


def _lateness(report: LoadReport) -> str:
    record = report.record
    return f"at most {record.lag_ms:.0f} ms late, p99 of a minute {record.lag_p99_ms:.0f} ms"


def _refused(figures: LoadFigures) -> str:
    told = f" (Retry-After {figures.retry_after_sec:g} s)" if figures.retry_after_sec is not None else ""
    return f"{figures.refused} refused a place{told}"


def shown_costs(costs: Costs) -> str:
    """What sessions took of the server, in words."""
    return (
        f"{costs.sessions:.1f} sessions on average, {shown(costs.cores, '{:.2f} cores')},"
        f" {shown(costs.core_percent, '{:.1f} % of a core')} and {megabytes(costs.session_bytes)} MB each session,"
        f" {megabytes(costs.resident_bytes)} MB in all"
    )


def shown(value: float | None, pattern: str) -> str:
    """A figure by a pattern of `str.format`, or a dash where nobody told it."""
    return pattern.format(value) if value is not None else ABSENT


def megabytes(size: float | None) -> str:
    """Bytes in millions."""
    return shown(None if size is None else size / MEGABYTE, "{:.1f}")


def errors_table(figures: LoadFigures) -> Table:
    """How often each kind of error came, the most frequent first."""
    table = Table("error", "times", title="Errors", title_justify="left")
    for kind, times in list(figures.errors.items())[:MOST_ERRORS]:
        table.add_row(escape(kind), str(times))
    return table


def verdict_table(findings: Sequence[Finding]) -> Table:
    """What a soak has found of leaks."""
    table = Table(title="Leaks", title_justify="left")
    for heading in ("", "before", "after", "growth", "allowed", "verdict", ""):
        table.add_column(heading, justify="right" if heading in {"before", "after", "growth", "allowed"} else "left")
    for row in verdict_rows(findings):
        style = "red" if row[5] != "none" else "green"
        table.add_row(*row[:5], f"[{style}]{row[5]}[/]", f"[dim]{row[6]}[/]")
    return table


def verdict_rows(findings: Sequence[Finding]) -> list[list[str]]:
    """Figure, before, after, growth, what is allowed, verdict, and what was compared."""
    return [_verdict_row(finding) for finding in findings]


def _verdict_row(finding: Finding) -> list[str]:
    if finding.growth is None:
        values = [f"{finding.before:.0f}", f"{finding.after:.0f}", "", f"{finding.allowed:.0f}"]
    else:
        sizes = [f"{size / MEGABYTE:.1f} MB" for size in (finding.before, finding.after)]
        values = [*sizes, f"{finding.growth:+.2%}", f"{finding.allowed:+.0%}"]
    return [finding.figure.replace("_", " "), *values, "leak" if finding.leaked else "none", finding.remark]


# -- for programs ------------------------------------------------------------------------------------------------------


def as_json(report: LoadReport) -> dict[str, Any]:
    """The whole report as plain values."""
    record = report.record
    return {
        "conditions": asdict(report.conditions),
        "plan": asdict(report.plan),
        "processes": report.processes,
        "summary": figures_json(report.figures),
        "costs": asdict(report.costs),
        "callers_late_ms": {"worst": record.lag_ms, "p99": record.lag_p99_ms},
        "before": dict(report.before),
        "after": dict(report.after),
        "leaks": [asdict(finding) | {"leaked": finding.leaked} for finding in report.findings],
        "calls": [asdict(call) for call in record.calls],
        "turns": [asdict(turn) | {"missed": turn.missed} for turn in record.turns],
        "samples": [asdict(sample) for sample in record.samples],
    }


def figures_json(figures: LoadFigures) -> dict[str, Any]:
    """The sums, with quantiles by their names."""
    tails = {"connect_ms": figures.connect_ms, **figures.tails}
    told = {name: tail._asdict() if tail else None for name, tail in tails.items()}
    return {name: value for name, value in asdict(figures).items() if name not in {"tails", "connect_ms"}} | told
