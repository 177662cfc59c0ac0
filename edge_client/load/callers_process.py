"""A process of callers: makes its part of the calls, and tells about them in lines of JSON on standard output.

The first line of standard input says what to do, the second from which moment of the machine's monotonic clock on. It
stays open for as long as the calls shall go on: when it ends, those in progress are hung up, so that none outlives
whoever wanted them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from edge_client.caller.client import warm_up
from edge_client.caller.question import Question
from edge_client.event_loop import run
from edge_client.load.held_call import HeldCall, Line
from edge_client.load.news import CallersAtWork, written
from edge_client.load.plan import LoadPlan, Seat
from edge_client.loop_lag import LoopLag, watch_loop
from edge_client.signals import ending_signals
from routing.telemetry.logs import log_to_stderr

WORK_SEC: Final = 5.0  # between two words about how the process itself is doing
WAITING: Final = "waiting"  # the line that says that the process can begin
BETWEEN_CALLS_SEC: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What one process shall do.

    Args:
        questions: files of samples at 24 kHz as numpy writes them
    """

    process: int
    plan: LoadPlan
    key: str | None
    seats: Sequence[Seat]
    questions: Sequence[str]

    def written(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, line: str) -> Self:
        told: dict[str, Any] = json.loads(line)
        plan, seats = LoadPlan(**told.pop("plan")), [Seat(**seat) for seat in told.pop("seats")]
        return cls(plan=plan, seats=seats, **told)


def main() -> None:
    """Run as a process; Ctrl-C, or a signal to all of the parent's group, is for the parent, who then lets us end."""
    for number in ending_signals():
        signal.signal(number, signal.SIG_IGN)
    log_to_stderr(logging.ERROR, "text")
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # tasks that aiortc leaves behind a line that is gone
    task = Task.read(sys.stdin.readline())
    questions = [Question(Path(file).stem, np.load(file)) for file in task.questions]
    run(_work(task, questions))


async def _work(task: Task, questions: Sequence[Question]) -> None:
    await warm_up()
    _say(WAITING)
    orders = await _orders()
    began_at = float(await orders.readline())
    line = Line(
        plan=task.plan, key=task.key, questions=questions, began_at=began_at, tell=lambda news: _say(written(news))
    )
    async with _watched(task.process, line):
        calling = asyncio.create_task(_sit(task.seats, line))
        leaving = asyncio.create_task(orders.read())
        await asyncio.wait((calling, leaving), return_when=asyncio.FIRST_COMPLETED)
        for work in (calling, leaving):
            work.cancel()
        await asyncio.wait((calling, leaving))
    if not calling.cancelled():
        calling.result()


async def _sit(seats: Sequence[Seat], line: Line) -> None:
    async with asyncio.TaskGroup() as callers:
        for seat in seats:
            callers.create_task(_call_from(seat, line))


async def _call_from(seat: Seat, line: Line) -> None:
    await asyncio.sleep(seat.begin_sec - line.now())
    for number in seat.numbers():
        if line.is_over:
            return
        await HeldCall(number, line).hold()
        await asyncio.sleep(BETWEEN_CALLS_SEC)


@asynccontextmanager
async def _watched(process: int, line: Line) -> AsyncIterator[None]:
    lag = LoopLag()
    work = [asyncio.create_task(each) for each in (watch_loop(lag), _tell_of_work(process, lag, line))]
    try:
        yield
    finally:
        for task in work:
            task.cancel()
        await asyncio.wait(work)
        _tell_lag(process, lag, line)


async def _tell_of_work(process: int, lag: LoopLag, line: Line) -> None:
    while True:
        await asyncio.sleep(WORK_SEC)
        _tell_lag(process, lag, line)


def _tell_lag(process: int, lag: LoopLag, line: Line) -> None:
    figures = lag.statistics()
    line.tell(
        CallersAtWork(
            process=process, at_sec=line.now(), p99_ms=figures.p99_sec * 1000, lag_ms=figures.worst_sec * 1000
        )
    )


async def _orders() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def _say(line: str) -> None:
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:  # the parent is gone, and with it everybody who wanted to know
        return


if __name__ == "__main__":
    main()
