"""An edge of one's own, in a process of its own: caller and edge then share no event loop, and latency is honest."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from routing.errors import BackendUnavailable

START_TIMEOUT_SEC = 60.0
STOP_TIMEOUT_SEC = 10.0
KEPT_LINES = 20  # of the edge's output, to explain why it ended
KEPT_VARIABLE = "ANTIPHON_MODELS"

READY = "Antiphon is ready at"  # the edge prints this and its address when it takes calls

_ADDRESS = re.compile(rf"{READY} (\S+)")


@dataclass(frozen=True, slots=True)
class EdgeProcess:
    """A running edge; ``started_at`` is the moment its process began, on the monotonic clock."""

    url: str
    started_at: float
    process: asyncio.subprocess.Process

    def memory(self) -> Memory | None:
        """What it takes now, or None where the system does not tell."""
        return _memory(Path(f"/proc/{self.process.pid}/status"))

    async def ended(self) -> None:
        """Return when it has ended by itself."""
        await self.process.wait()


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in bytes."""

    now: int
    peak: int


@asynccontextmanager
async def edge_process(
    *, port: int = 0, progress: Callable[[str], None] = lambda line: None, arguments: tuple[str, ...] = ()
) -> AsyncIterator[EdgeProcess]:
    """Start an edge on loopback, wait until it takes calls, and stop it on leaving. Port 0 is any free one.

    Raises:
        BackendUnavailable: it did not start; the message is what it said.
    """
    started_at = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "edge_client.cli",
            "edge",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            *arguments,
        ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=_environment(os.environ),
    )
    output = _Output(process, progress)
    reading = asyncio.create_task(output.read())
    try:
        yield EdgeProcess(await output.address(), started_at, process)
    finally:
        await _stop(process)
        await reading


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The edge's own settings are left out: this one is for whoever sits at this machine."""
    return {
        name: value for name, value in environment.items() if not name.startswith("ANTIPHON_") or name == KEPT_VARIABLE
    }


class _Output:
    """Reads what the edge prints, to its end: a pipe that nobody reads would stop it."""

    def __init__(self, process: asyncio.subprocess.Process, progress: Callable[[str], None]) -> None:
        self._process = process
        self._progress = progress
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._address: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    async def read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self._note(line.decode(errors="replace").rstrip())
        if not self._address.done():
            self._address.set_result(None)

    def _note(self, line: str) -> None:
        self._lines.append(line)
        if self._address.done():
            return
        if address := _ADDRESS.search(line):
            self._address.set_result(address[1])
        else:
            self._progress(line)

    async def address(self) -> str:
        try:
            async with asyncio.timeout(START_TIMEOUT_SEC):
                address = await asyncio.shield(self._address)
        except TimeoutError:
            raise BackendUnavailable(f"the edge did not start in {START_TIMEOUT_SEC:.0f} s") from None
        if address is None:
            raise BackendUnavailable("\n".join(["the edge did not start:", *self._lines]))
        return address


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_SEC):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _memory(status: Path) -> Memory | None:
    try:
        lines = status.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    sizes = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    if "VmHWM" not in sizes:  # a process that has ended has no memory
        return None
    return Memory(now=_bytes(sizes["VmRSS"]), peak=_bytes(sizes["VmHWM"]))


def _bytes(size: list[str]) -> int:
    return int(size[0]) * 1024  # always in kB
