"""What `call`, `bench` and `probe` do: ask, show each turn as it comes, then the tables and the report file."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from edge_client.caller.budget import Budget, breaches
from edge_client.caller.captions import Captions
from edge_client.caller.client import Caller, OnEvent, Sound
from edge_client.caller.edge_process import NO_SETTINGS, EdgeProcess, edge_process
from edge_client.caller.interview import interview
from edge_client.caller.live import LiveSound, converse
from edge_client.caller.probe import Probe, ProbePlan
from edge_client.caller.probe_report import ProbeReport, figures_table, remarks
from edge_client.caller.probe_report import as_json as probe_json
from edge_client.caller.question import Question, recorded, synthesised
from edge_client.caller.report import (
    Conditions,
    TurnReport,
    as_json,
    conditions,
    summary_table,
    turn_line,
    turns_table,
)
from edge_client.soundcard import OpenStream, Soundcard
from edge_client.terminal import telling

BENCH_QUESTIONS = (
    "What time is it?",
    "What is twelve times seven?",
    "How are you today?",
    "What day is it?",
    "Set a timer for twenty minutes.",
    "Tell me a joke.",
    "What is twenty percent of eighty?",
    "What do you like about music?",
)


@dataclass(frozen=True, slots=True)
class Line:
    """Whom to call, and as whom."""

    url: str
    key: str | None = None
    model: str | None = None
    relayed: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """Where the results go; ``folder`` takes the replies as WAV files."""

    console: Console
    folder: Path | None = None
    json_file: Path | None = None


def read_questions(recordings: Iterable[Path], texts: Iterable[str]) -> list[Question]:
    """The questions to ask. Blocks: files are read and sentences synthesised.

    Raises:
        InvalidRequest: a file holds no sound.
    """
    wanted = list(texts)
    return list(chain(map(recorded, recordings), synthesised(wanted) if wanted else ()))


async def call_with(line: Line, questions: Sequence[Question], output: Output, *, turns: int | None = None) -> bool:
    """Ask the questions, ``turns`` in all, and report; returns whether each was answered."""
    asked = list(islice(cycle(questions), turns or len(questions)))
    reports: list[TurnReport] = []
    beside = conditions()
    try:
        async with (
            connected(line, output.console) as call,
            aclosing(interview(call, asked, folder=output.folder)) as answered,
        ):
            async for report in answered:
                reports.append(report)
                output.console.print(turn_line(len(reports), report))
    finally:  # what was measured before Ctrl-C was measured all the same
        if reports:
            show(reports, beside, output)
    return all(report.answered for report in reports)


@asynccontextmanager
async def connected(
    line: Line, console: Console, *, sound: Sound | None = None, on_event: OnEvent = lambda event: None
) -> AsyncIterator[Caller]:
    """A call, announced on the console."""
    async with Caller.connect(
        line.url, key=line.key, model=line.model, sound=sound, on_event=on_event, relayed=line.relayed
    ) as call:
        assert call.connect_sec is not None
        console.print(f"connected to {escape(line.url)} in {call.connect_sec * 1000:.0f} ms")
        yield call


def show(reports: Sequence[TurnReport], beside: Conditions, output: Output) -> None:
    """Print the tables, and write the report file where one is wanted."""
    output.console.print(turns_table(reports), summary_table(reports), f"[dim]{beside} at the start[/]")
    if output.json_file:
        _write_json(output.json_file, as_json(reports, beside))


async def bench(line: Line | None, questions: Sequence[Question], output: Output, *, turns: int) -> bool:
    """Ask the questions, ``turns`` in all, of a running server, or of an edge started for it."""
    if line is not None:
        return await call_with(line, questions, output, turns=turns)
    async with started_edge(output.console) as edge:
        return await call_with(Line(edge.url), questions, output, turns=turns)


async def probe(plan: ProbePlan, questions: Sequence[Question], output: Output, budgets: Sequence[Budget]) -> list[str]:
    """Measure as planned and report; returns how the budgets were exceeded."""
    beside = conditions()
    measured = Probe(plan, questions, tell=output.console.print)
    try:
        await measured.run()
    finally:
        report = measured.report(beside)
        exceeded = breaches(budgets, report.figures())
        if report.calls:
            _show_probe(report, exceeded, output)
    return exceeded


def _show_probe(report: ProbeReport, exceeded: Sequence[str], output: Output) -> None:
    output.console.print(figures_table(report), f"[dim]{escape(remarks(report))}[/]")
    if output.json_file:
        _write_json(output.json_file, probe_json(report, exceeded))


def _write_json(file: Path, report: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


@asynccontextmanager
async def started_edge(
    console: Console, *, port: int = 0, settings: Mapping[str, str] = NO_SETTINGS
) -> AsyncIterator[EdgeProcess]:
    """An edge of one's own; the console shows how it starts."""
    async with AsyncExitStack() as stack:
        with telling(console) as tell:
            tell("starting the edge")
            edge = await stack.enter_async_context(edge_process(port=port, progress=tell, settings=settings))
        yield edge


async def call_live(line: Line, output: Output, open_stream: OpenStream, *, echo: bool = True) -> bool:
    """Let the person at this machine speak, until Ctrl-C; returns whether each of their turns was answered."""
    reports: list[TurnReport] = []
    beside = conditions()
    sound = LiveSound()
    card = Soundcard(hear=sound.hear, read=sound.read)
    captions = Captions(output.console.print)
    try:
        async with (
            connected(line, output.console, sound=sound.call_side, on_event=captions.show) as call,
            card.running(open_stream, echo=echo),
        ):
            output.console.print("Speak. Ctrl-C ends the call.")
            await converse(call, sound, reports.append)
    finally:
        if reports:
            show(reports, beside, output)
    return all(report.answered for report in reports)
