"""A server in a process of its own: caller and server then share no event loop, and latency is honest."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from routing.errors import BackendUnavailable

STOP_TIMEOUT_SEC = 10.0
LINGER_SEC = 1.0  # what it started may hold its output open when it has ended
KEPT_LINES = 20  # of what it prints, to explain why it ended


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running server."""

    url: str
    process: asyncio.subprocess.Process


@asynccontextmanager
async def server_process(
    command: Sequence[str | Path],
    *,
    name: str,
    ready: re.Pattern[str],
    environment: Mapping[str, str],
    start_timeout_sec: float,
    stop_timeout_sec: float = STOP_TIMEOUT_SEC,
    folder: Path | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> AsyncIterator[ServerProcess]:
    """Start a server, wait until it prints where it takes calls, and stop it on leaving.

    The first group of ``ready`` is the address; ``progress`` hears the lines before it. ``name`` is for errors. It runs
    in ``folder``, or where we do.

    Raises:
        BackendUnavailable: it did not start; the message is what it said.
    """
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=dict(environment), cwd=folder
    )
    output = _Output(process, name, ready, progress)
    reading = asyncio.create_task(output.read())
    try:
        yield ServerProcess(await output.address(start_timeout_sec), process)
    finally:
        await _stop(process, stop_timeout_sec)
        await asyncio.wait([reading], timeout=LINGER_SEC)
        reading.cancel()


class _Output:
    """Reads what the server prints, to its end: a pipe that nobody reads would stop it."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        name: str,
        ready: re.Pattern[str],
        progress: Callable[[str], None],
    ) -> None:
        self._process = process
        self._name = name
        self._ready = ready
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
        if address := self._ready.search(line):
            self._address.set_result(address[1])
        else:
            self._progress(line)

    async def address(self, timeout_sec: float) -> str:
        try:
            async with asyncio.timeout(timeout_sec):
                address = await asyncio.shield(self._address)
        except TimeoutError:
            raise BackendUnavailable(f"{self._name} did not start in {timeout_sec:.0f} s") from None
        if address is None:
            raise BackendUnavailable("\n".join([f"{self._name} did not start:", *self._lines]))
        return address


async def _stop(process: asyncio.subprocess.Process, timeout_sec: float) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(timeout_sec):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
