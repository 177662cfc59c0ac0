"""What `antiphon load` does: call as planned, in steps, or for a soak, then tell what it was like."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape

from edge_client.caller.edge_process import edge_process
from edge_client.caller.question import Question
from edge_client.caller.report import Conditions, conditions
from edge_client.load.callers import processes_for
from edge_client.load.leak import judge, unjudged
from edge_client.load.page import check_for_plots, html, steps_html
from edge_client.load.plan import LoadPlan
from edge_client.load.progress import progressing
from edge_client.load.record import LoadRecord
from edge_client.load.report import (
    LoadReport,
    as_json,
    errors_table,
    megabytes,
    remarks,
    shown,
    verdict_table,
    waits_table,
)
from edge_client.load.run import Setting, Tell, calm, make_calls
from edge_client.load.server_watch import watching
from edge_client.load.steps import (
    CALL_APART_SEC,
    Step,
    idle_cores,
    step_plan,
    steps_json,
    steps_table,
    take_step,
    verdict,
)
from routing.report_files import write_reports

LEAVING_SEC: Final = 120.0  # at most, until nothing is held any more that a call has needed
RUSH_CALLS: Final = 4  # after each other, in each place
PLACES: Final = 16  # that an edge has of itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where the results go."""

    console: Console
    json_file: Path | None = None
    html_file: Path | None = None

    def __post_init__(self) -> None:
        if self.html_file:
            check_for_plots()


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Whom to call.

    Args:
        pid: of its process, where that runs on this machine and is known
        engine: what a server of our own shall answer with; None: ``url`` is called
    """

    key: str | None = None
    pid: int | None = None
    engine: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """A command at work: the plan with the address that is called, and what all runs share."""

    plan: LoadPlan
    setting: Setting
    conditions: Conditions
    output: Output


@asynccontextmanager
async def workplace(
    plan: LoadPlan,
    questions: Sequence[Question],
    server: Server,
    output: Output,
    *,
    processes: int | None,
    places: int | None = None,
) -> AsyncIterator[Workplace]:
    """Everything that is needed to call, an edge of our own included where one is wanted."""
    beside = conditions()
    wanted = processes or processes_for(plan, os.cpu_count() or 1)
    with progressing(output.console) as tell:
        enough = places or round(2 * plan.expected_at_once)
        async with (
            _called(plan, server, tell, places=enough) as (url, pid),
            watching(url, key=server.key, pid=pid) as watch,
        ):
            setting = Setting(questions=questions, key=server.key, processes=wanted, watch=watch, tell=tell)
            yield Workplace(plan=replace(plan, url=url), setting=setting, conditions=beside, output=output)


@asynccontextmanager
async def _called(plan: LoadPlan, server: Server, tell: Tell, *, places: int) -> AsyncIterator[tuple[str, int | None]]:
    if server.engine is None:
        yield plan.url, server.pid
        return
    tell("starting the edge")
    settings = {"ANTIPHON_MAXIMUM_SESSIONS": str(max(places, PLACES))}
    async with edge_process(progress=tell, arguments=("--engine", server.engine), settings=settings) as edge:
        yield edge.url, edge.process.pid


# -- calls that come ---------------------------------------------------------------------------------------------------


async def load(work: Workplace) -> bool:
    """Make the calls and report; returns whether nobody was let down."""
    record, before = LoadRecord(), await calm(work.setting.watch, at_most_sec=0)
    try:
        await make_calls(work.plan, work.setting, record)
    finally:  # what was measured before Ctrl-C was measured all the same
        report = _report(work, record, before=before)
        await _show(report, work.output)
    return report.figures.is_clean


def _report(
    work: Workplace, record: LoadRecord, *, before: Mapping[str, float], after: Mapping[str, float] | None = None
) -> LoadReport:
    begins = [call.began_sec for call in record.calls]
    coming = [sample for sample in record.samples if begins and begins[0] <= sample.at_sec <= begins[-1]]
    return LoadReport(
        plan=work.plan,
        conditions=work.conditions,
        record=record,
        processes=work.setting.processes,
        before=before,
        after=after or {},
        findings=judge(before, coming, after) if after else (),
    )


async def _show(report: LoadReport, output: Output) -> None:
    if not report.record.calls:
        return
    figures = report.figures
    output.console.print(waits_table(figures), "\n".join(escape(line) for line in remarks(report)))
    if figures.errors:
        output.console.print(errors_table(figures))
    if report.findings:
        output.console.print(verdict_table(report.findings))
    await asyncio.to_thread(_write, output, lambda: as_json(report), lambda: html(report))


def _write(output: Output, report: Callable[[], Mapping[str, Any]], page: Callable[[], str]) -> None:
    """The files that are wanted. Blocks: plots are drawn."""
    write_reports({output.json_file: lambda: json.dumps(report()) + "\n", output.html_file: page})


# -- a soak ------------------------------------------------------------------------------------------------------------


async def soak(work: Workplace) -> bool:
    """Likewise, and judge whether the server leaks; returns whether it does not, and nobody was let down."""
    watch, record = work.setting.watch, LoadRecord()
    work.setting.tell("a rush of calls first, so that memory was at its highest before it is judged")
    await make_calls(_rush(work.plan), work.setting, LoadRecord())
    before = await calm(watch, at_most_sec=LEAVING_SEC)
    after: dict[str, float] | None = None
    try:
        await make_calls(work.plan, work.setting, record)
        work.setting.tell("waiting for the server to let go of what calls have needed")
        after = await calm(watch, at_most_sec=LEAVING_SEC, like=before)
    finally:
        report = _report(work, record, before=before, after=after)
        await _show(report, work.output)
    _tell_unjudged(report, work.output)
    return report.figures.is_clean and not report.leaked


def _tell_unjudged(report: LoadReport, output: Output) -> None:
    """That nothing was found says little where nothing could be looked at."""
    if names := unjudged(report.findings):
        told = ", ".join(name.replace("_", " ") for name in names)
        output.console.print(f"[yellow]leaks were not looked for, since the server did not tell:[/] {told}")


def _warm_up(plan: LoadPlan, *, calls: int = 2, at_once: int = 1) -> LoadPlan:
    """Calls of a turn each: what is made once and kept is there then."""
    return replace(
        plan,
        rate_per_min=None,
        concurrent=at_once,
        calls=calls,
        duration_sec=None,
        turns=1,
        listening=0.0,
        ramp_sec=at_once * CALL_APART_SEC,
    )


def _rush(plan: LoadPlan) -> LoadPlan:
    """As many calls at once as there will hardly be later, and some more after them.

    An allocator keeps what it was given at the busiest moment. That moment shall be over before memory is judged.
    """
    at_once = max(1, round(plan.expected_at_once))
    return _warm_up(plan, calls=RUSH_CALLS * at_once, at_once=at_once)


# -- steps -------------------------------------------------------------------------------------------------------------


async def climb(work: Workplace, counts: Sequence[int], *, hold_sec: float) -> bool:
    """Hold each number of calls for a while, listening and then talking; returns whether nobody was let down."""
    await make_calls(_warm_up(work.plan), work.setting, LoadRecord())
    before = await calm(work.setting.watch, at_most_sec=LEAVING_SEC)
    idle, taken = await idle_cores(work.setting.watch), list[Step]()
    try:
        for listening in (True, False):
            for count in counts:
                work.setting.tell(f"{count} calls, {'listening' if listening else 'talking'}")
                plan = step_plan(work.plan, count, listening=listening, hold_sec=hold_sec)
                taken.append(await take_step(plan, work.setting, before))
    finally:
        if taken:
            await _show_steps(work, taken, before, idle)
    return all(step.figures.is_clean for step in taken)


async def _show_steps(work: Workplace, taken: Sequence[Step], before: Mapping[str, float], idle: float | None) -> None:
    plan, beside = work.plan, work.conditions
    resting = f"without any call: {shown(idle, '{:.2f} cores')}, {megabytes(before.get('resident_bytes'))} MB"
    lines = [*verdict(taken), resting, f"{beside} at the start"]
    work.output.console.print(steps_table(taken), "\n".join(lines))
    await asyncio.to_thread(
        _write,
        work.output,
        lambda: steps_json(taken, plan, beside, idle=idle),
        lambda: steps_html(taken, plan, lines),
    )
