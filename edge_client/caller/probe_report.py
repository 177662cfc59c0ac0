"""What a probe has found: each turn, the sums over all of them, a table for people and JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.markup import escape
from rich.table import Table

from edge_client.caller.budget import QUANTILES
from edge_client.caller.packets import Packets
from edge_client.caller.report import ABSENT, Conditions
from edge_client.quantiles import Quantiles, quantiles


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedTurn:
    """One question and what was heard after it."""

    question: str
    v2v_ms: float | None = None  # last sample of speech -> first audible sample of the reply
    early: bool = False  # something was said while the caller still spoke
    reply_ms: float = 0.0  # first to last audible sample
    longest_pause_ms: float = 0.0  # of silence inside the reply
    gaps: int = 0  # how often a player that keeps 40 ms in hand would have run dry inside the reply
    starved_ms: float = 0.0  # and for how long in all
    packets: Packets = field(default_factory=Packets)
    answer: str = ""  # in words, where the server tells them
    errors: tuple[str, ...] = ()

    @property
    def missed(self) -> bool:
        """Nothing was ever said to it."""
        return self.v2v_ms is None and not self.early


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedCall:
    """One call. A turn that was planned and could not be asked any more is a miss like any other."""

    number: int
    connect_ms: float | None = None  # from the offer until sound could flow; None where it never could
    turns: tuple[ProbedTurn, ...] = ()
    resumed: int = 0  # how often it went on over another connection
    fault: str | None = None  # how it ended before its time


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeConditions:
    """What was measured, and beside what load."""

    url: str
    dialect: str
    network: str | None
    silence_ms: int | None  # what the server was asked for; None: nothing
    at_once: int
    machine: Conditions


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """All calls, in their order. ``own_lag_ms`` is how late the probe's own event loop was, at the worst."""

    conditions: ProbeConditions
    calls: Sequence[ProbedCall] = field(default_factory=tuple)
    own_lag_ms: float = 0.0

    @property
    def turns(self) -> list[ProbedTurn]:
        return [turn for call in self.calls for turn in call.turns]

    @property
    def v2v_ms(self) -> list[float]:
        return [turn.v2v_ms for turn in self.turns if turn.v2v_ms is not None]

    @property
    def connect_ms(self) -> list[float]:
        return [call.connect_ms for call in self.calls if call.connect_ms is not None]

    def packets(self) -> Packets:
        """Those of all turns together."""
        return sum((turn.packets for turn in self.turns), Packets())

    def totals(self) -> dict[str, float]:
        """The counts over all turns."""
        return {
            "turns": len(self.turns),
            "answered": len(self.v2v_ms),
            "misses": sum(turn.missed for turn in self.turns),
            "early": sum(turn.early for turn in self.turns),
            "gaps": sum(turn.gaps for turn in self.turns),
            "starved_ms": sum(turn.starved_ms for turn in self.turns),
            "resumed": sum(call.resumed for call in self.calls),
            **asdict(self.packets()),
        }

    def figures(self) -> dict[str, float | None]:
        """Everything that can have a budget, by its name there."""
        return {**_named("v2v", self.v2v_ms), **_named("connect", self.connect_ms), **self.totals()}


def _named(measure: str, values: Sequence[float]) -> dict[str, float | None]:
    found = quantiles(values)
    figures = (*found, max(values)) if found else (None,) * len(QUANTILES)
    return {f"{measure}_{name}": figure for name, figure in zip(QUANTILES, figures, strict=True)}


# -- for people ------------------------------------------------------------------------------------------------------


def turn_line(place: str, turn: ProbedTurn) -> str:
    """One turn as a line, for when it has just happened."""
    wait = "[red]no reply[/]" if turn.missed else "early" if turn.v2v_ms is None else f"{turn.v2v_ms:.0f} ms"
    notes = ", ".join(_notes(turn))
    return f"[dim]{place:>6}[/]  {escape(turn.question)}  [dim]V2V[/] {wait}" + (
        f"  [dim]({notes})[/]" if notes else ""
    )


def _notes(turn: ProbedTurn) -> Iterable[str]:
    if turn.early:
        yield "answered too early"
    if turn.gaps:
        yield f"sound was late for {turn.starved_ms:.0f} ms"
    for name in ("lost", "recovered", "concealed"):
        if count := getattr(turn.packets, name):
            yield f"{count} {name}"
    yield from (escape(error) for error in turn.errors)


def figures_table(report: ProbeReport) -> Table:
    """Median and tails of the waits."""
    table = Table(title="Times in ms", title_justify="left")
    table.add_column("")
    for heading in (*Quantiles._fields, "max"):
        table.add_column(heading, justify="right")
    for name, values in (("V2V", report.v2v_ms), ("connect", report.connect_ms)):
        table.add_row(name, *(ABSENT if value is None else f"{value:.0f}" for value in _named("", values).values()))
    return table


def remarks(report: ProbeReport) -> str:
    """The counts, and the conditions under which it all came about: a line each."""
    totals, told = report.totals(), report.conditions
    counts = {
        "turns": ("answered", "misses", "early"),
        "replies": ("gaps", "starved_ms"),
        "calls": ("resumed",),
        "packets": ("received", "lost", "recovered", "concealed"),
    }
    lines = [
        *(f"{what}: {', '.join(f'{name} {totals[name]:.0f}' for name in names)}" for what, names in counts.items()),
        f"network: {told.network or 'as it is'}",
        f"machine: {told.machine} at the start; the probe itself was at most {report.own_lag_ms:.0f} ms late",
    ]
    return "\n".join(lines)


# -- for programs ----------------------------------------------------------------------------------------------------


def as_json(report: ProbeReport, breaches: Sequence[str] = ()) -> dict[str, Any]:
    """The whole report as plain values."""
    return {
        "conditions": asdict(report.conditions),
        "own_lag_ms": report.own_lag_ms,
        "summary": report.figures(),
        "breaches": list(breaches),
        "calls": [_call(call) for call in report.calls],
    }


def _call(call: ProbedCall) -> Mapping[str, Any]:
    return asdict(call) | {"turns": [asdict(turn) | {"missed": turn.missed} for turn in call.turns]}
