"""A server in a process of its own, started by whichever Python has what it needs, and the processor time it takes."""

from __future__ import annotations

import asyncio
import os
import re
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

START_SEC = 90.0  # the first import of a large stack takes its time
STOP_SEC = 10.0
KEPT_LINES = 20  # of what it prints, to explain why it ended
READY = re.compile(r"ready at (http\S+)")  # what every server here prints, ours too
TICKS_PER_SEC = os.sysconf("SC_CLK_TCK")


class ServerFailed(Exception):
    """It ended or was not ready in time; the message is what it said last."""


@dataclass(frozen=True, slots=True)
class ServerProcess:
    url: str
    pid: int

    def processor_sec(self) -> float:
        """What it and its children have taken so far, on all cores together."""
        return sum(map(_processor_sec, _family(self.pid)))


@asynccontextmanager
async def server_process(command: Sequence[str | Path], environment: Mapping[str, str]) -> AsyncIterator[ServerProcess]:
    """Start a server, wait until it takes calls, and stop it on leaving.

    Raises:
        ServerFailed: it did not start.
    """
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=dict(environment)
    )
    output = _Output(process)
    reading = asyncio.create_task(output.read())
    try:
        yield ServerProcess(await output.address(), process.pid)
    finally:
        await _stop(process)
        await reading


class _Output:
    """Reads what the server prints, to its end: a pipe that nobody reads would stop it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._address: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    async def read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self._note(line.decode(errors="replace").rstrip())
        self._tell(None)

    def _note(self, line: str) -> None:
        self._lines.append(line)
        if address := READY.search(line):
            self._tell(address[1])

    def _tell(self, address: str | None) -> None:
        if not self._address.done():
            self._address.set_result(address)

    async def address(self) -> str:
        try:
            async with asyncio.timeout(START_SEC):
                address = await asyncio.shield(self._address)
        except TimeoutError:
            address = None
        if address is None:
            raise ServerFailed("\n".join(["the server did not start:", *self._lines]))
        return address


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_SEC):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it has just ended
        return
    for child in children:
        yield from _family(child)


def _processor_sec(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    fields = status.rpartition(")")[2].split()  # what precedes is the program's name, whatever is in it
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SEC
