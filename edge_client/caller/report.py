"""What a call was like, turn by turn and in sum: as tables for people and as JSON for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.markup import escape
from rich.table import Table

from edge_client.caller.placement import Placed, read_placement
from edge_client.caller.spoken import Reply
from edge_client.quantiles import Quantiles, quantiles

ABSENT = "–"  # this server does not tell, or there is nothing to tell


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnReport:
    """One row of the report. A figure is None where the server does not tell it or the turn has none."""

    question: str
    transcript: str
    answer: str
    endpoint_wait_ms: float | None
    ttfa_ms: float | None
    v2v_ms: float | None
    missed: bool
    early: bool
    cut_ms: float | None = None
    reply_ms: float = 0.0
    longest_pause_ms: float = 0.0
    starved_ms: float = 0.0
    end_reason: str | None = None
    turn_id: str | None = None
    trace_id: str | None = None
    placement: Mapping[str, Any] = field(default_factory=dict)
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    recording: str | None = None
    heard_at: float | None = None  # the reply's first sample, in seconds of the caller's clock
    traced: Mapping[str, Any] | None = None  # the turn's spans, as an Antiphon edge tells them

    @property
    def answered(self) -> bool:
        """Whether the caller asked to the end and then heard an answer."""
        return self.v2v_ms is not None

    @property
    def placed(self) -> Placed | None:
        """Who answered, where the server tells."""
        return read_placement(self.placement)


def report_turn(question: str, reply: Reply, *, recording: str | None = None) -> TurnReport:
    """Put what the caller measured and what the server told side by side."""
    latency, numbers = reply.latency, reply.numbers
    return TurnReport(
        question=question,
        transcript=reply.transcript,
        answer=reply.answer,
        endpoint_wait_ms=numbers.endpoint_wait_ms,
        ttfa_ms=numbers.ttfa_ms,
        v2v_ms=_ms(latency.v2v_sec),
        missed=latency.missed,
        early=latency.early,
        cut_ms=_ms(latency.cut_sec),
        reply_ms=latency.reply_sec * 1000,
        longest_pause_ms=latency.longest_pause_sec * 1000,
        starved_ms=latency.starved_sec * 1000,
        end_reason=numbers.end_reason,
        turn_id=numbers.turn_id,
        trace_id=numbers.trace_id,
        placement=numbers.placement,
        timings_ms=numbers.timings_ms,
        errors=reply.errors,
        heard_at=reply.heard_at,
        traced=reply.traced,
        recording=recording,
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


# -- the machine beside it -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Conditions:
    """The machine while it was measured: figures mean little without the load beside them."""

    machine: str
    cores: int
    load: tuple[float, float, float] | None  # averages over 1, 5 and 15 minutes; None where the system has none

    def __str__(self) -> str:
        load = " / ".join(f"{value:.2f}" for value in self.load) if self.load else ABSENT
        return f"{self.machine}, {self.cores} cores, load average {load}"


def conditions() -> Conditions:
    """The conditions at this moment."""
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    return Conditions(f"{platform.system()} {platform.machine()}", os.cpu_count() or 1, load)


# -- lines and tables ------------------------------------------------------------------------------------------------


def turn_line(number: int, turn: TurnReport) -> str:
    """One turn as a line, for when it has just happened."""
    heard, answer = _words(turn)
    by = f"  [dim]{escape(turn.placed.path)}[/]" if turn.placed else ""
    trace = f"  [dim]trace {escape(turn.trace_id)}[/]" if turn.trace_id else ""
    return f"[dim]{number:3}[/]  {heard} → {answer}  [dim]V2V[/] {_v2v(turn)}{by}{trace}"


def turns_table(turns: Sequence[TurnReport]) -> Table:
    """One row per turn. Who answered is shown where the server tells of any turn."""
    told = any(turn.placed for turn in turns)
    table = Table(title="Turns, times in ms", title_justify="left", caption=_caption(turns), caption_justify="left")
    table.add_column("#", justify="right", style="dim")
    table.add_column("heard by the edge", ratio=3, overflow="fold")
    table.add_column("answer", ratio=4, overflow="fold")
    for heading in ("endpoint\nwait", "\nTTFA"):
        table.add_column(heading, justify="right", no_wrap=True)
    if told:
        table.add_column("placement", overflow="fold")
        table.add_column("V2V\npredicted", justify="right", no_wrap=True)
    table.add_column("V2V\nactual" if told else "\nV2V", justify="right", no_wrap=True)
    if told:
        table.add_column("reason", ratio=3, overflow="fold")
    for number, turn in enumerate(turns, 1):
        table.add_row(str(number), *_words(turn), *_figures(turn, told=told))
    return table


def _words(turn: TurnReport) -> tuple[str, str]:
    answer = escape(turn.answer) or (f"[red]{escape(turn.errors[-1])}[/]" if turn.errors else ABSENT)
    cut = "" if turn.cut_ms is None else f" [dim](cut in; silence after {turn.cut_ms:.0f} ms)[/]"
    return (escape(turn.transcript) or f"[dim]{escape(turn.question)} (no transcript)[/]") + cut, answer


def _figures(turn: TurnReport, *, told: bool) -> Iterator[str]:
    yield from (_figure(turn.endpoint_wait_ms), _figure(turn.ttfa_ms))
    placed = turn.placed
    if told:
        yield from (escape(placed.path), _figure(placed.expected_ms)) if placed else (ABSENT, ABSENT)
    yield _v2v(turn)
    if told:
        yield escape(placed.reason) if placed else ABSENT


def _v2v(turn: TurnReport) -> str:
    return ("[red]no reply[/]" if turn.missed else _figure(turn.v2v_ms)) + (" early" if turn.early else "")


def _figure(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.0f}"


def _caption(turns: Sequence[TurnReport]) -> str:
    answered = sum(turn.answered for turn in turns)
    starved = sum(turn.starved_ms for turn in turns)
    parts = [f"{answered} of {len(turns)} answered"]
    parts += [f"{count} early" for count in [sum(turn.early for turn in turns)] if count]
    parts += [f"sound was late for {starved:.0f} ms in all"] if starved >= 1 else []
    return ", ".join(parts)


MEASURES: Mapping[str, tuple[str, Callable[[TurnReport], float | None]]] = {
    "endpoint_wait_ms": ("endpoint wait", lambda turn: turn.endpoint_wait_ms),
    "ttfa_ms": ("TTFA", lambda turn: turn.ttfa_ms),
    "v2v_ms": ("V2V", lambda turn: turn.v2v_ms),
}


def summaries(turns: Sequence[TurnReport]) -> dict[str, Quantiles | None]:
    """The quantiles of each measure over the turns that have it; barge-ins are no ordinary turns."""
    plain = [turn for turn in turns if turn.cut_ms is None]
    return {
        name: quantiles([value for turn in plain if (value := measure(turn)) is not None])
        for name, (_, measure) in MEASURES.items()
    }


def summary_table(turns: Sequence[TurnReport]) -> Table:
    """Median and tails of each measure."""
    table = Table(title="Latency in ms", title_justify="left")
    table.add_column("")
    for heading in Quantiles._fields:
        table.add_column(heading, justify="right")
    for name, figures in summaries(turns).items():
        row = [_figure(value) for value in figures] if figures else [ABSENT] * len(Quantiles._fields)
        table.add_row(MEASURES[name][0], *row)
    return table


def as_json(turns: Sequence[TurnReport], conditions: Conditions) -> dict[str, Any]:
    """The whole report as plain values."""
    return {
        "conditions": asdict(conditions),
        "answered": sum(turn.answered for turn in turns),
        "missed": sum(turn.missed for turn in turns),
        "early": sum(turn.early for turn in turns),
        "summary": {name: q._asdict() if q else None for name, q in summaries(turns).items()},
        "turns": [asdict(turn) for turn in turns],
    }
