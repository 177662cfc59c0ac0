"""One run: callers call as planned, and meanwhile it is noted what they tell and what the server takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Final

from edge_client.caller.question import Question
from edge_client.load.callers import Callers, calling
from edge_client.load.leak import RETURNING, at_rest
from edge_client.load.plan import LoadPlan
from edge_client.load.record import LoadRecord, Sample
from edge_client.load.server_watch import ServerWatch
from edge_client.process_figures import ProcessFigures, family_figures
from edge_client.quantiles import tail_of

SAMPLE_SEC: Final = 2.0
CALM_SEC: Final = 2.0  # between two looks at a server that shall come to rest
RECENT: Final = 50  # turns that the progress is told by

type Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all runs of one command share."""

    questions: Sequence[Question]
    key: str | None
    processes: int
    watch: ServerWatch
    tell: Tell = lambda line: None
    sample_sec: float = SAMPLE_SEC


async def make_calls(plan: LoadPlan, setting: Setting, record: LoadRecord) -> None:
    """Make all calls of ``plan``; ``record`` holds what has happened at any time, also where this is cancelled.

    Raises:
        BackendUnavailable: the callers could not go on.
    """
    async with (
        calling(plan, setting.questions, key=setting.key, processes=setting.processes, hear=record.hear) as (
            callers,
            began_at,
        ),
        _sampled(record, setting, callers, began_at),
        _telling(record, setting),
    ):
        await callers.run()


@asynccontextmanager
async def _sampled(record: LoadRecord, setting: Setting, callers: Callers, began_at: float) -> AsyncIterator[None]:
    sampling = asyncio.create_task(_sample(record, setting, callers, began_at))
    try:
        yield
    finally:
        sampling.cancel()
        await asyncio.wait([sampling])
        if not sampling.cancelled():
            sampling.result()  # it ends by itself only where it has failed


async def _sample(record: LoadRecord, setting: Setting, callers: Callers, began_at: float) -> None:
    while True:
        server = await setting.watch.look()
        taken = await asyncio.to_thread(_taken, callers.pids)
        at_sec = time.monotonic() - began_at
        record.samples.append(Sample(at_sec=at_sec, calls=record.in_progress, server=server, callers=taken))
        await asyncio.sleep(setting.sample_sec)


def _taken(pids: Sequence[int]) -> Mapping[str, float]:
    told = [figures for pid in pids if (figures := family_figures(pid))]
    return asdict(_sum(told)) if told else {}


def _sum(told: Sequence[ProcessFigures]) -> ProcessFigures:
    return sum(told[1:], told[0])


# -- what people see meanwhile -----------------------------------------------------------------------------------------


@asynccontextmanager
async def _telling(record: LoadRecord, setting: Setting) -> AsyncIterator[None]:
    telling = asyncio.create_task(_tell(record, setting))
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.wait([telling])


async def _tell(record: LoadRecord, setting: Setting) -> None:
    while True:
        setting.tell(progress_line(record))
        await asyncio.sleep(setting.sample_sec)


def progress_line(record: LoadRecord) -> str:
    """Where a run is now."""
    failed = sum(call.fault is not None for call in record.calls)
    recent = tail_of([turn.v2v_ms for turn in record.turns[-RECENT:] if turn.v2v_ms is not None])
    waits = f"V2V lately p50 {recent.p50:.0f} p95 {recent.p95:.0f} ms" if recent else "no answer yet"
    missed = sum(turn.missed for turn in record.turns)
    return (
        f"{record.in_progress} calls in progress, {record.over - failed} done, {failed} failed;"
        f" {len(record.turns)} turns, {missed} missed; {waits}"
    )


# -- a server at rest --------------------------------------------------------------------------------------------------


async def calm(
    watch: ServerWatch, *, at_most_sec: float, like: Mapping[str, float] | None = None, every_sec: float = CALM_SEC
) -> dict[str, float]:
    """The server's figures as soon as it has no sessions, and holds no more than ``like``; or after ``at_most_sec``.

    It is asked to sweep its memory before. A server that tells nothing is given no time: nobody would know what for.
    One that has told, and does not answer now, is asked again.
    """
    deadline = time.monotonic() + at_most_sec
    while True:
        figures = await watch.look(sweep=True)
        if time.monotonic() > deadline or (watch.is_whole(figures) and _is_calm(figures, like or {})):
            return figures
        await asyncio.sleep(every_sec)


def _is_calm(figures: Mapping[str, float], like: Mapping[str, float]) -> bool:
    at_most = {"sessions": 0.0, "calls": 0.0} | {name: at_rest(name, like[name]) for name in RETURNING if name in like}
    return all(figures[name] <= most for name, most in at_most.items() if name in figures)
