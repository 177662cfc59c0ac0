"""What `antiphon trace` does, once its arguments are read."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_client.trace import diff, summary_report
from edge_client.trace.archive import Archive, TurnMark, open_archive
from edge_client.trace.jaeger import document_of
from edge_client.trace.summary import Summary, summarise
from edge_client.trace.traced_turn import TracedTurn
from edge_client.trace.turn_report import trace_report, turn_report
from routing.errors import SettingsError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

STANDARD_OUTPUT = Path("-")


def show(
    paths: Sequence[Path],
    console: Console,
    *,
    turn: str = "last",
    trace: str | None = None,
    every_turn: bool = False,
    whole: bool = False,
    lenient: bool = False,
) -> None:
    """One turn as a waterfall, or a trace, or every turn.

    Raises:
        TraceFileError: there are no traces.
        InvalidRequest: there is no such turn or trace.
    """
    with open_archive(paths, lenient=lenient) as archive:
        if trace is not None:
            console.print(trace_report(archive, archive.trace(archive.find_trace(trace)), whole=whole))
        else:
            for mark in archive.turns if every_turn else (archive.find_turn(turn),):
                _show_turn(archive, mark, console, whole=whole)
        _print(console, summary_report.omissions(archive.omissions))


def _show_turn(archive: Archive, mark: TurnMark, console: Console, *, whole: bool) -> None:
    turn = TracedTurn.of(archive.trace(mark.trace_id), mark.span_id)
    number = archive.turns.index(mark) + 1
    console.print(turn_report(archive, turn, number=number, whole=whole))
    console.print()


def sum_up(
    paths: Sequence[Path],
    console: Console,
    *,
    expect: float | None = None,
    json_file: Path | None = None,
    lenient: bool = False,
) -> str | None:
    """Where the time went. Tells what falls short of ``expect``, the part of V2V in percent that must be explained.

    Raises:
        TraceFileError: there are no traces.
        SettingsError: the JSON cannot be written.
    """
    with open_archive(paths, lenient=lenient) as archive:
        summary = summarise(archive)
    _give(console, summary_report.report(summary), summary_report.as_json(summary), json_file)
    return None if expect is None else _shortfall(summary, expect)


def _shortfall(summary: Summary, expect: float) -> str | None:
    least = summary.least_explained
    if least is None:
        return f"expected {expect:g} % of V2V to be explained, got no turn with V2V"
    if least.explained * 100 >= expect:
        return None
    missed = sum(turn.explained * 100 < expect for turn in summary.turns)
    return (
        f"expected {expect:g} % of V2V to be explained, got {least.explained:.2%} in turn {least.turn_id} "
        f"({missed} of {len(summary.turns)} turns fall short)"
    )


def compare(
    before: Path, after: Path, console: Console, *, json_file: Path | None = None, lenient: bool = False
) -> None:
    """Two runs side by side.

    Raises:
        TraceFileError: there are no traces.
        SettingsError: the JSON cannot be written.
    """
    summaries = []
    for path in (before, after):
        with open_archive([path], lenient=lenient) as archive:
            summaries.append(summarise(archive))
    difference = diff.compare(*summaries)
    _give(console, diff.report(difference), diff.as_json(difference), json_file)


def export(
    paths: Sequence[Path],
    console: Console,
    *,
    output: Path,
    turn: str | None = None,
    lenient: bool = False,
) -> None:
    """All traces, or that of one turn, as a file for Jaeger's Upload. An older one stays until the new one is whole.

    Raises:
        TraceFileError: there are no traces.
        InvalidRequest: there is no such turn.
        SettingsError: the file cannot be written.
    """
    with open_archive(paths, lenient=lenient) as archive:
        trace_ids = archive.trace_ids if turn is None else (archive.find_turn(turn).trace_id,)
        pieces = document_of(archive.trace(trace_id) for trace_id in trace_ids)
        if output == STANDARD_OUTPUT:
            sys.stdout.writelines(pieces)
            return
        _write(output, pieces)
        console.print(f"{len(trace_ids)} traces in {output}: open it with Upload on Jaeger's page", markup=False)
        _print(console, summary_report.omissions(archive.omissions))


# -- output ------------------------------------------------------------------------------------------------------------


def _give(console: Console, report: RenderableType, document: dict[str, Any], json_file: Path | None) -> None:
    """The report on the console and its JSON in a file, or the JSON alone on standard output."""
    text = json.dumps(document, indent=2) + "\n"
    if json_file == STANDARD_OUTPUT:
        sys.stdout.write(text)
        return
    console.print(report)
    if json_file is not None:
        _write(json_file, [text])


def _print(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        console.print(line)


def _write(path: Path, pieces: Iterable[str]) -> None:
    """Beside its place first, so that a file is there whole or not at all."""
    try:
        if path.exists() and not path.is_file():  # such as /dev/stdout
            _fill(path, pieces)
            return
        beside = path.with_name(f".{path.name}.part")
        try:
            _fill(beside, pieces)
            beside.replace(path)
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise
    except OSError as error:
        raise SettingsError(f"cannot write {path}: {error.strerror}") from error


def _fill(path: Path, pieces: Iterable[str]) -> None:
    with path.open("w") as file:
        file.writelines(pieces)
