"""The same number of calls held for a while, one number after the other: what a session costs, silent and talking."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from rich.table import Table

from edge_client.caller.report import ABSENT, Conditions
from edge_client.load.figures import Costs, LoadFigures, costs_of, figures_of
from edge_client.load.plan import LoadPlan
from edge_client.load.record import LoadRecord
from edge_client.load.report import MEGABYTE, figures_json
from edge_client.load.run import Setting, calm, make_calls
from edge_client.load.server_watch import ServerWatch

CALL_APART_SEC: Final = 0.3  # the calls of a step do not all begin at once
SETTLE_SEC: Final = 3.0  # after the last has begun
IDLE_SEC: Final = 5.0  # a server is looked at without any call
REST_SEC: Final = 30.0  # at most, between steps, for the server to have hung up
HEADINGS: Final = (
    "calls",
    "",
    "% core\neach",
    "MB\neach",
    "cores",
    "calls/\ncore",
    "turns",
    "V2V\np50",
    "V2V\np95",
    "V2V\np99",
    "under\nruns",
    "missed",
    "con-\ncealed",
    "callers\n(cores)",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One number of calls, measured while all of them were there."""

    calls: int
    listening: bool
    figures: LoadFigures
    costs: Costs
    record: LoadRecord

    @property
    def is_clean(self) -> bool:
        """Nobody was refused or let down, and no sound was late."""
        return self.figures.is_clean and not (self.figures.refused or self.figures.underruns)

    @property
    def sessions_per_core(self) -> float | None:
        """As many as would take a core each for themselves, by what these took. None where that is not known."""
        return 100 / self.costs.core_percent if self.costs.core_percent else None


async def idle_cores(watch: ServerWatch) -> float | None:
    """What the server uses when nobody calls; None where nobody tells."""
    before, began = await watch.look(), time.monotonic()
    await asyncio.sleep(IDLE_SEC)
    after = await watch.look()
    if "cpu_sec" not in before or "cpu_sec" not in after:
        return None
    return (after["cpu_sec"] - before["cpu_sec"]) / (time.monotonic() - began)


def step_plan(plan: LoadPlan, calls: int, *, listening: bool, hold_sec: float) -> LoadPlan:
    """The plan of one step: ``calls`` are held for ``hold_sec`` after all of them have come and settled."""
    ramp_sec = calls * CALL_APART_SEC
    return replace(
        plan,
        rate_per_min=None,
        concurrent=calls,
        calls=None,
        lasting=True,
        ramp_sec=ramp_sec,
        duration_sec=ramp_sec + SETTLE_SEC + hold_sec,
        listening=1.0 if listening else 0.0,
    )


async def take_step(plan: LoadPlan, setting: Setting, before: Mapping[str, float]) -> Step:
    """Hold the calls of a step, and wait until the server is at rest again."""
    record = LoadRecord()
    await make_calls(plan, setting, record)
    await calm(setting.watch, at_most_sec=REST_SEC)
    return measured(plan, record, before)


def measured(plan: LoadPlan, record: LoadRecord, before: Mapping[str, float]) -> Step:
    """What came of the time in which all calls were there."""
    assert plan.concurrent is not None
    assert plan.duration_sec is not None
    since_sec = plan.ramp_sec + SETTLE_SEC
    held = [sample for sample in record.samples if since_sec <= sample.at_sec <= plan.duration_sec]
    return Step(
        calls=plan.concurrent,
        listening=plan.listening > 0,
        figures=figures_of(record, since_sec=since_sec),
        costs=costs_of(held, before=before),
        record=record,
    )


def steps_table(steps: Sequence[Step]) -> Table:
    """One row for each."""
    table = Table(title="Calls held at the same time; waits in ms, underruns counted", title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for row in step_rows(steps):
        table.add_row(*row)
    return table


def step_rows(steps: Sequence[Step]) -> list[list[str]]:
    """The cells of the table, in the order of `HEADINGS`."""
    return [_row(step) for step in steps]


def _row(step: Step) -> list[str]:
    costs, figures = step.costs, step.figures
    tail = figures.tails["v2v_ms"]
    return [
        str(step.calls),
        "listening" if step.listening else "talking",
        _shown(costs.core_percent, ".1f"),
        _shown(None if costs.session_bytes is None else costs.session_bytes / MEGABYTE, ".1f"),
        _shown(costs.cores, ".2f"),
        _shown(step.sessions_per_core, ".0f"),
        ABSENT if step.listening else f"{figures.answered}/{figures.turns}",
        *(_shown(value, ".0f") for value in (tail or (None, None, None))),
        str(figures.underruns),
        str(figures.missed),
        str(figures.concealed),
        _shown(costs.callers_cores, ".2f"),
    ]


def _shown(value: float | None, pattern: str) -> str:
    return ABSENT if value is None else format(value, pattern)


def verdict(steps: Sequence[Step]) -> list[str]:
    """What follows for how many sessions a core carries: a line for each way of calling."""
    lines = []
    for listening in (True, False):
        clean = [step for step in steps if step.listening is listening and step.is_clean and step.sessions_per_core]
        if clean:
            most = max(clean, key=lambda step: step.calls)
            way = "listening" if listening else "talking"
            lines.append(
                f"{way}: {most.sessions_per_core:.0f} sessions per core, by {most.calls} calls without any underrun"
            )
    return lines


def steps_json(steps: Sequence[Step], plan: LoadPlan, conditions: Conditions, *, idle: float | None) -> dict[str, Any]:
    """Everything as plain values; ``idle`` are the cores that the server uses when nobody calls."""
    return {
        "idle_cores": idle,
        "conditions": asdict(conditions),
        "plan": asdict(plan),
        "steps": [
            {
                "calls": step.calls,
                "listening": step.listening,
                "sessions_per_core": step.sessions_per_core,
                "summary": figures_json(step.figures),
                "costs": asdict(step.costs),
                "turns": [asdict(turn) for turn in step.record.turns],
                "samples": [asdict(sample) for sample in step.record.samples],
            }
            for step in steps
        ],
    }
