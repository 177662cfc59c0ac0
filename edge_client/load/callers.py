"""The processes that call: one Python process cannot carry many callers, so the calls are dealt out among several."""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import numpy as np

from edge_client.caller.question import Question
from edge_client.load.callers_process import WAITING, Task
from edge_client.load.news import News, read_news
from edge_client.load.plan import LoadPlan, seats
from routing.errors import BackendUnavailable

logger = logging.getLogger(__name__)

START_SEC: Final = 60.0
HANG_UP_SEC: Final = 15.0  # for all calls of a process to end in order
LONGEST_LINE: Final = 1024 * 1024
PROCESS_CALLS: Final = 10  # that a process carries with ease

type Hear = Callable[[News], None]


def processes_for(plan: LoadPlan, cores: int) -> int:
    """How many processes the calls of ``plan`` are spread over where nobody says: they would not gain by more cores."""
    return max(1, min(cores, round(plan.expected_at_once / PROCESS_CALLS)))


class Callers:
    """All processes of one run. Made by `calling`, which lets them begin together."""

    def __init__(self, processes: Sequence[asyncio.subprocess.Process], hear: Hear) -> None:
        self._processes = processes
        self._hear = hear

    @property
    def pids(self) -> list[int]:
        """Whom to ask for what the callers take."""
        return [process.pid for process in self._processes]

    async def run(self) -> None:
        """Return when all calls are over.

        Raises:
            BackendUnavailable: a process has come to an unexpected end.
        """
        try:
            async with asyncio.TaskGroup() as readers:
                for process in self._processes:
                    readers.create_task(self._read(process))
        except ExceptionGroup as faults:
            raise faults.exceptions[0] from None

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self._hear(read_news(line))
        if await process.wait():
            raise BackendUnavailable(
                f"a process of callers ended with the code {process.returncode}; it said why above"
            )

    async def hang_up(self) -> None:
        """Let all calls end in order, and hear what they have to say about it.

        Raises:
            BackendUnavailable: a process has come to an unexpected end; the others have ended in order.
            TimeoutError: they take too long.
        """
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        async with asyncio.timeout(HANG_UP_SEC):
            ends = await asyncio.gather(*map(self._read, self._processes), return_exceptions=True)
        for fault in ends:
            if fault:
                raise fault


@asynccontextmanager
async def calling(
    plan: LoadPlan, questions: Sequence[Question], *, key: str | None, processes: int, hear: Hear
) -> AsyncIterator[tuple[Callers, float]]:
    """Processes that begin to call now, and the moment that they count from; on leaving, all calls are hung up.

    Raises:
        BackendUnavailable: a process did not start.
    """
    async with AsyncExitStack() as stack:
        folder = Path(await stack.enter_async_context(_folder()))
        files = await asyncio.to_thread(_saved, questions, folder)
        started = []
        for number in range(processes):
            task = Task(process=number, plan=plan, key=key, seats=seats(plan)[number::processes], questions=files)
            started.append(await stack.enter_async_context(_process(task)))
        callers = Callers(started, hear)
        began_at = time.monotonic()
        for process in started:
            _tell(process, repr(began_at))
        try:
            yield callers, began_at
        finally:
            await _end(callers)


async def _end(callers: Callers) -> None:
    try:
        await callers.hang_up()
    except (TimeoutError, BackendUnavailable) as fault:  # they are ended the hard way then, by their own blocks
        logger.warning("not all callers ended in order: %r", fault)


@asynccontextmanager
async def _folder() -> AsyncIterator[str]:
    folder = await asyncio.to_thread(tempfile.TemporaryDirectory)
    try:
        yield folder.name
    finally:
        await asyncio.to_thread(folder.cleanup)


def _saved(questions: Sequence[Question], folder: Path) -> list[str]:
    files = [folder / f"{number}.npy" for number in range(len(questions))]
    for file, question in zip(files, questions, strict=True):
        np.save(file, question.samples)
    return [str(file) for file in files]


@asynccontextmanager
async def _process(task: Task) -> AsyncIterator[asyncio.subprocess.Process]:
    """One that has loaded everything and waits for the moment from which to count."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edge_client.load.callers_process"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LONGEST_LINE,
    )
    try:
        _tell(process, task.written())
        await _until_waiting(process)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _until_waiting(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SEC):
            line = await process.stdout.readline()
    except TimeoutError:
        line = b""
    if line.decode().strip() != WAITING:
        raise BackendUnavailable("a process of callers did not start; it said why above")


def _tell(process: asyncio.subprocess.Process, line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line.encode() + b"\n")
