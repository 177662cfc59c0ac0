"""A server in a process of its own, started by whichever Python has what it needs, and the processor time it takes."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from edge_client.caller import server_process as caller

START_SEC = 90.0  # the first import of a large stack takes its time
READY = re.compile(r"ready at (http\S+)")  # what every server here prints, ours too
TICKS_PER_SEC = os.sysconf("SC_CLK_TCK")


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
        BackendUnavailable: it did not start; the message is what it said.
    """
    async with caller.server_process(
        command, name="the server", ready=READY, environment=environment, start_timeout_sec=START_SEC
    ) as server:
        yield ServerProcess(server.url, server.process.pid)


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
