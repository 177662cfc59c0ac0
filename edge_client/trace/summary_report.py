"""Where the time went, as tables for people and as plain values for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group as Lines
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from edge_client.quantiles import Tail
from edge_client.trace.archive import Omissions
from edge_client.trace.plain_text import plain
from edge_client.trace.summary import ALL, ExplainedTurn, Group, Row, Summary

WORST_SHOWN = 3


def report(summary: Summary) -> RenderableType:
    """A table for all turns and for each kind of them, and how much of V2V is explained."""
    tables = [group_table(group) for group in summary.groups if is_of_its_own(group, summary)]
    return Lines(headline(summary), *tables, *verdict(summary), *omissions(summary.omissions, summary.unrooted))


def is_of_its_own(group: Group, summary: Summary) -> bool:
    """Whether it is another than that of all turns."""
    return group.name == ALL or group.turns < len(summary.turns)


def headline(summary: Summary) -> str:
    """How many turns, of what kinds, measured by whom."""
    parts = [f"{len(summary.turns)} turns with V2V"]
    parts += [_answered(summary), _counted(str(turn.measured) for turn in summary.turns)] if summary.turns else []
    if summary.without:
        endings = ", ".join(f"{count} {plain(outcome)}" for outcome, count in summary.without.items())
        parts.append(f"{sum(summary.without.values())} more without: typed, dropped or unanswered ({endings})")
    return escape("; ".join(parts))


def _answered(summary: Summary) -> str:
    return ", ".join(f"{group.turns} {plain(group.name)}" for group in summary.groups if group.name != ALL)


def _counted(measured: Iterator[str]) -> str:
    words = {"caller": "{} measured at the caller", "edge": "{} at the edge", "in part": "{} in part at the caller"}
    return ", ".join(words[by].format(count) for by, count in Counter(measured).most_common())


def group_table(group: Group) -> Table:
    """Times in milliseconds over the turns in which they occurred; the share is that of the V2V of all its turns."""
    table = Table(title=f"{escape(plain(group.name))}: {group.turns} turns, in ms", title_justify="left")
    table.add_column("", overflow="ellipsis", no_wrap=True)
    for heading in ("turns", *Tail._fields, "of V2V"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_row("[bold]V2V[/]", str(group.turns), *_figures(group.v2v), "100.0%")
    _add(table, group.phases)
    unattributed = (*_figures(group.unattributed), _share(group.unattributed_share))
    table.add_row("unattributed", str(group.turns), *unattributed, end_section=True)
    _add(table, group.critical, heading="waited for")
    _add(table, group.hidden, heading="done ahead")
    return table


def _add(table: Table, rows: Sequence[Row], *, heading: str = "") -> None:
    if heading and rows:
        table.add_row(f"[dim]{heading}[/]")
    for row in rows:
        name = escape(plain(row.name))
        last = row is rows[-1] and bool(heading)
        table.add_row(f"  {name}", str(row.turns), *_figures(row.tail), _share(row.share), end_section=last)


def _figures(tail: Tail) -> tuple[str, ...]:
    return tuple(f"{value:.1f}" for value in tail)


def _share(share: float) -> str:
    return f"{share:.1%}"


def verdict(summary: Summary) -> Iterator[str]:
    """How much of each turn named phases explain, and which turns contradict themselves."""
    worst = sorted(summary.turns, key=lambda turn: turn.explained)[:WORST_SHOWN]
    if worst:
        yield f"[bold]Explained by named phases: at least {worst[0].explained:.2%} of V2V in every turn[/]"
        if worst[0].unattributed_ms:
            yield f"[dim]least explained: {escape('; '.join(map(_worst, worst)))}[/]"
    contradicting = [turn for turn in summary.turns if turn.contradicts_itself]
    if contradicting:
        some = escape("; ".join(map(_contradiction, contradicting[:WORST_SHOWN])))
        yield f"[yellow]{len(contradicting)} turns say another V2V of themselves: {some}[/]"


def _worst(turn: ExplainedTurn) -> str:
    return (
        f"turn {turn.number} ({plain(turn.turn_id)}): {turn.explained:.2%}, "
        f"{turn.unattributed_ms:.1f} of {turn.v2v_ms:.1f} ms unattributed"
    )


def _contradiction(turn: ExplainedTurn) -> str:
    return f"turn {turn.number} ({plain(turn.turn_id)}): {turn.told_ms:.0f} ms, its spans {turn.v2v_ms:.1f} ms"


def omissions(left_out: Omissions, unrooted: int = 0) -> Iterator[str]:
    """What was not read, and what is not whole."""
    if unrooted:
        yield f"[dim]{unrooted} traces are without their root: not over yet, or in another file[/]"
    if left_out.torn:
        yield "[dim]a last line is not whole, and was left out: it is being written, or its writer was killed[/]"
    if left_out.damaged:
        yield f"[yellow]{left_out.damaged} lines are no spans, and were left out[/]"
    if left_out.foreign:
        paths = ", ".join(plain(path) for path in left_out.foreign)
        yield f"[dim]left out, for they hold no traces: {escape(paths)}[/]"


# -- for programs ------------------------------------------------------------------------------------------------------


def as_json(summary: Summary) -> dict[str, Any]:
    """Plain values, times in milliseconds, shares from 0 to 1."""
    least = summary.least_explained
    return {
        "least_explained": None if least is None else least.explained,
        "without_v2v": dict(summary.without),
        "traces_without_root": summary.unrooted,
        "omitted": {
            "torn_lines": summary.omissions.torn,
            "damaged_lines": summary.omissions.damaged,
            "foreign_files": [str(path) for path in summary.omissions.foreign],
        },
        "groups": [_group_as_json(group) for group in summary.groups],
        "turns": [{**asdict(turn), "explained": turn.explained} for turn in summary.turns],
    }


def _group_as_json(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "turns": group.turns,
        "v2v_ms": group.v2v._asdict(),
        "least_explained": group.least_explained,
        "unattributed_ms": {**group.unattributed._asdict(), "share": group.unattributed_share},
        "phases": _rows_as_json(group.phases),
        "critical_path": _rows_as_json(group.critical),
        "done_ahead": _rows_as_json(group.hidden),
    }


def _rows_as_json(rows: Sequence[Row]) -> dict[str, Any]:
    return {row.name: {"turns": row.turns, **row.tail._asdict(), "share": row.share} for row in rows}
