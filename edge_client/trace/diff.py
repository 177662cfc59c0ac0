"""Two runs side by side: what became faster, what slower, and what of it is more than chance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Group as Lines
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from edge_client.quantiles import Tail, tail_of
from edge_client.trace.noise import Interval, difference_of
from edge_client.trace.plain_text import plain
from edge_client.trace.summary import ExplainedTurn, Summary, values_of
from routing.telemetry.names import VOICE_TO_VOICE

type Section = Literal["", "phase", "waited for"]
type Verdict = Literal["faster", "slower", "noise", "unknown"]

V2V = "V2V"
UNATTRIBUTED = "unattributed"
ABSENT = "–"
LEVELS: tuple[Literal["p50", "p95"], ...] = ("p50", "p95")
MARKS: Mapping[Verdict, str] = {
    "faster": "[green]faster[/]",
    "slower": "[bold red]slower[/]",
    "noise": "",
    "unknown": "?",
}
RULE = (
    "faster, slower: the 95 % bootstrap interval of the difference does not hold 0, each row for itself; "
    "?: too few turns to tell (8 a side for p50, 20 for p95)"
)


@dataclass(frozen=True, slots=True)
class Change:
    """How one quantile moved, in milliseconds; None where one side has nothing."""

    before: float | None
    after: float | None
    interval: Interval | None

    @property
    def difference(self) -> float | None:
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def ratio(self) -> float | None:
        return None if not self.before or self.after is None else self.after / self.before

    @property
    def verdict(self) -> Verdict:
        if self.interval is None:
            return "unknown"
        if not self.interval.is_beyond_noise:
            return "noise"
        return "slower" if self.interval.low > 0 else "faster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One name in both runs: in how many turns it took time, and how its quantiles moved."""

    name: str
    section: Section
    turns: tuple[int, int]
    p50: Change
    p95: Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Both runs, V2V first."""

    turns: tuple[int, int]
    without: tuple[int, int]
    rows: tuple[Comparison, ...]


def compare(before: Summary, after: Summary) -> Difference:
    """Phase by phase, over the turns in which each occurred; likewise who was waited for."""
    runs = before.turns, after.turns
    rows = [_comparison(V2V, "", *([turn.v2v_ms for turn in run] for run in runs))]
    phases = sorted(_names(runs, _phases), key=VOICE_TO_VOICE.index)
    rows += [_part(name, "phase", runs, _phases) for name in phases]
    rows.append(_comparison(UNATTRIBUTED, "phase", *([turn.unattributed_ms for turn in run] for run in runs)))
    rows += [_part(name, "waited for", runs, _critical) for name in _names(runs, _critical)]
    return Difference(
        turns=(len(before.turns), len(after.turns)),
        without=(sum(before.without.values()), sum(after.without.values())),
        rows=tuple(rows),
    )


def _phases(turn: ExplainedTurn) -> Mapping[str, float]:
    return turn.phases


def _critical(turn: ExplainedTurn) -> Mapping[str, float]:
    return turn.critical


def _names(
    runs: Iterable[Sequence[ExplainedTurn]], parts: Callable[[ExplainedTurn], Mapping[str, float]]
) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for run in runs for turn in run for name in parts(turn)))


def _part(
    name: str,
    section: Section,
    runs: Iterable[Sequence[ExplainedTurn]],
    parts: Callable[[ExplainedTurn], Mapping[str, float]],
) -> Comparison:
    return _comparison(name, section, *(values_of(run, name, parts) for run in runs))


def _comparison(name: str, section: Section, before: Sequence[float], after: Sequence[float]) -> Comparison:
    tails = tail_of(before), tail_of(after)
    return Comparison(
        name=name,
        section=section,
        turns=(len(before), len(after)),
        p50=_change(tails, "p50", difference_of(before, after, level=0.5)),
        p95=_change(tails, "p95", difference_of(before, after, level=0.95)),
    )


def _change(tails: tuple[Tail | None, Tail | None], name: str, interval: Interval | None) -> Change:
    before, after = (None if tail is None else float(getattr(tail, name)) for tail in tails)
    return Change(before, after, interval)


# -- for people --------------------------------------------------------------------------------------------------------


def report(difference: Difference) -> RenderableType:
    """A table for the median and one for the tail, V2V first, and the rule by which differences count."""
    before, after = difference.turns
    headline = f"{before} turns before, {after} after"
    if any(difference.without):
        headline += "; {} and {} more without V2V".format(*difference.without)
    return Lines(headline, *(_table(difference.rows, level) for level in LEVELS), f"[dim]{RULE}[/]")


def _table(rows: Sequence[Comparison], level: Literal["p50", "p95"]) -> Table:
    table = Table(title=f"{level}, in ms", title_justify="left")
    table.add_column("", overflow="ellipsis", no_wrap=True)
    for heading in ("turns", "before", "after", "±", "×", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for row, following in zip(rows, (*rows[1:], None), strict=True):
        name = f"[bold]{V2V}[/]" if row.name == V2V else escape(plain(row.name))
        change = row.p50 if level == "p50" else row.p95
        ends = following is None or following.section != row.section
        table.add_row(name, "{}, {}".format(*row.turns), *_cells(change), end_section=ends)
    return table


def _cells(change: Change) -> tuple[str, ...]:
    difference, ratio = change.difference, change.ratio
    return (
        _ms(change.before),
        _ms(change.after),
        ABSENT if difference is None else f"{difference:+.1f}",
        ABSENT if ratio is None else f"{ratio:.2f}",
        MARKS[change.verdict],
    )


def _ms(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.1f}"


# -- for programs ------------------------------------------------------------------------------------------------------


def as_json(difference: Difference) -> dict[str, Any]:
    """Plain values, times in milliseconds."""
    return {
        "rule": RULE,
        "turns": {"before": difference.turns[0], "after": difference.turns[1]},
        "without_v2v": {"before": difference.without[0], "after": difference.without[1]},
        "rows": [_row_as_json(row) for row in difference.rows],
    }


def _row_as_json(row: Comparison) -> dict[str, Any]:
    return {
        "name": row.name,
        "section": row.section,
        "turns": {"before": row.turns[0], "after": row.turns[1]},
        "p50": _change_as_json(row.p50),
        "p95": _change_as_json(row.p95),
    }


def _change_as_json(change: Change) -> dict[str, Any]:
    return {
        "before": change.before,
        "after": change.after,
        "difference": change.difference,
        "ratio": change.ratio,
        "interval": None if change.interval is None else list(change.interval),
        "verdict": change.verdict,
    }
