"""Why each turn went where it went, and what came of it: as tables and a plot for people, as JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group as Lines
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from edge_client.quantiles import Tail
from edge_client.route.calibration import PROMISES, Calibration, calibrations
from edge_client.route.plot import Point, histogram, letters, scale_of, scatter
from edge_client.route.summary import Group, Summary, expected_sec, speaker, summarise
from routing.record import PlacementRecord

ABSENT = "–"  # there is nothing to tell


def ms(seconds: float | None) -> str:
    return ABSENT if seconds is None else f"{seconds * 1000:.0f}"


# -- turn by turn ----------------------------------------------------------------------------------------------------


def turns_table(records: Sequence[PlacementRecord], *, first_number: int = 1) -> Table:
    """One row per turn."""
    table = Table(title="Turns, times in ms from the turn's end", title_justify="left")
    table.add_column("#", justify="right", style="dim")
    table.add_column("turn", no_wrap=True, style="dim")
    table.add_column("placement", no_wrap=True)
    for heading in ("predicted", "actual", "regret"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("reason", ratio=1, overflow="fold")
    for number, record in enumerate(records, first_number):
        table.add_row(str(number), _short(record.turn_id), placement(record), *_figures(record), _reason(record))
    return table


def _short(turn_id: str) -> str:
    return escape(turn_id if len(turn_id) <= 14 else f"{turn_id[:13]}…")


def placement(record: PlacementRecord) -> str:
    """Who spoke, one after the other."""
    path = [speaker(record)]
    path += [switch.backend for switch in record.outcome.switches if switch.told_sec > 0]
    shown = escape(" → ".join(path))
    return shown if record.keeps_privacy else f"[bold red]{shown} LEFT THE DEVICE[/]"


def _figures(record: PlacementRecord) -> tuple[str, str, str]:
    actual = record.outcome.first_sound_sec
    shown = f"[red]{record.outcome.ended}[/]" if actual is None else ms(actual)
    return ms(expected_sec(record)), shown, ms(record.regret_sec)


def _reason(record: PlacementRecord) -> str:
    switches = [f"{switch.instead_of} {switch.why}" for switch in record.outcome.switches]
    return escape("; ".join([record.choice.reason, *switches]))


# -- in sum ----------------------------------------------------------------------------------------------------------


def headline(summary: Summary) -> str:
    """All of it in a sentence or two."""
    endings = ", ".join(f"{count} {ending}" for ending, count in summary.endings.items())
    parts = [f"{summary.turns} turns of {summary.sessions} sessions under {', '.join(summary.policies)}: {endings}"]
    parts += [f"{summary.seconds} not by the one chosen first"] if summary.seconds else []
    parts += [f"{summary.handovers} handed over in the midst"] if summary.handovers else []
    return "; ".join([*parts, _privacy(summary)])


def _privacy(summary: Summary) -> str:
    if summary.leaks:
        some = ", ".join(summary.leaks[:3])
        return f"[bold red]{len(summary.leaks)} of {summary.private} private ones LEFT THE DEVICE: {escape(some)}[/]"
    return f"{summary.private} private, all of which stayed on the device" if summary.private else "none private"


def groups_table(title: str, groups: Sequence[Group], *, with_waste: bool) -> Table:
    """Median and tail, prediction and regret of each group; a backend's wasted work as well."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    headings = ["turns", "share", *(f"wait {name}" for name in Tail._fields), "off by", "mean regret"]
    for heading in [*headings, *(("wasted work s", "wasted sound s") if with_waste else ())]:
        table.add_column(heading, justify="right")
    for group in groups:
        waste = (f"{group.work_sec:.1f}", f"{group.sound_sec:.1f}") if with_waste else ()
        table.add_row(escape(group.name), *_group_figures(group), *waste)
    return table


def _group_figures(group: Group) -> tuple[str, ...]:
    wait = [ms(value) for value in group.wait] if group.wait else [ABSENT] * len(Tail._fields)
    bias = ABSENT if group.bias_sec is None else f"{group.bias_sec * 1000:+.0f}"
    return (str(group.turns), f"{group.share:.0%}", *wait, bias, ms(group.regret_sec))


def calibration_table(found: Sequence[Calibration]) -> Table:
    """How often answers came within their predicted quantiles."""
    table = Table(title="Calibration: answers within their prediction", title_justify="left")
    table.add_column("")
    for heading in ("came", "not seen", *(f"p{level * 100:.0f}" for level in PROMISES)):
        table.add_column(heading, justify="right")
    table.add_column("predictions are")
    for each in found:
        shares = [ABSENT if share is None else f"{share:.0%}" for share in each.within]
        table.add_row(escape(each.backend), str(each.came), str(each.unseen), *shares, each.verdict)
    return table


# -- drawn -----------------------------------------------------------------------------------------------------------


def points_of(records: Sequence[PlacementRecord]) -> dict[str, list[Point]]:
    """Predicted and actual waits in milliseconds, by the backend that spoke."""
    points: dict[str, list[Point]] = {}
    for record in records:
        expected, actual = expected_sec(record), record.outcome.first_sound_sec
        if expected is not None and actual is not None:
            points.setdefault(speaker(record), []).append(Point(expected * 1000, actual * 1000))
    return points


def plot(points: Mapping[str, Sequence[Point]]) -> RenderableType:
    """Predicted against actual, and how the actual ones are spread."""
    marks, limit = letters(points), scale_of(points)
    legend = "  ".join(f"{mark} {name}" for name, mark in marks.items())
    rows = [f"Predicted and actual wait ({legend}; · equal; + several)", *scatter(points)]
    width = max(map(len, points), default=0)
    for name, each in points.items():
        bars = histogram([point.actual for point in each], until=limit)
        rows.append(f"{name:>{width}} │{bars}│ actual, 0 to {limit:.0f} ms")
    return Text("\n".join(rows), no_wrap=True)


# -- the whole -------------------------------------------------------------------------------------------------------


def report(records: Sequence[PlacementRecord], *, last: int) -> RenderableType:
    """Everything, with the ``last`` turns one by one (0 for all)."""
    shown = records[-last:] if last else records
    summary, points = summarise(records), points_of(records)
    parts: list[RenderableType] = [turns_table(shown, first_number=len(records) - len(shown) + 1)]
    if len(shown) < len(records):
        parts.append(f"[dim]the last {len(shown)} of {len(records)} turns; --last 0 shows all[/]")
    parts += [
        groups_table("By backend, in ms", summary.backends, with_waste=True),
        groups_table("By reason, in ms", summary.reasons, with_waste=False),
        calibration_table(calibrations(records)),
    ]
    return Lines(*parts, *([plot(points)] if points else []), headline(summary))


def as_json(records: Sequence[PlacementRecord]) -> dict[str, Any]:
    """The same as plain values, times in seconds."""
    return {
        "summary": asdict(summarise(records)),
        "calibration": [
            {**asdict(each), "promises": PROMISES, "verdict": each.verdict} for each in calibrations(records)
        ],
        "turns": [_turn_as_json(record) for record in records],
    }


def _turn_as_json(record: PlacementRecord) -> dict[str, Any]:
    return {
        "turn_id": record.turn_id,
        "session_id": record.session_id,
        "index": record.index,
        "at": record.at,
        "backend": record.outcome.backend,
        "switches": [asdict(switch) for switch in record.outcome.switches],
        "predicted_sec": expected_sec(record),
        "actual_sec": record.outcome.first_sound_sec,
        "regret_sec": record.regret_sec,
        "reason": record.choice.reason,
        "ended": record.outcome.ended,
        "trace_id": record.trace_id or None,
        "keeps_privacy": record.keeps_privacy,
    }
