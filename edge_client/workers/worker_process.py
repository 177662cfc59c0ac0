"""A worker as its supervisor sees it: a process, and the socket between the two."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager

from edge_client.workers.orders import Control, Fault, Go, Leave, Message, Orders, Progress, Ready
from routing.errors import BackendUnavailable

SILENT_SEC = 120.0  # while it loads: a busy machine takes a quarter of it
STOP_SEC = 10.0  # for a worker to end by itself: its connections have five, its last traces two, its models some


class WorkerProcess:
    """Made by `worker_process`."""

    def __init__(self, number: int, process: asyncio.subprocess.Process, control: Control) -> None:
        self.number = number
        self._process = process
        self._control = control
        self._ready = False

    async def ready(self, progress: Callable[[str], None]) -> None:
        """Return when the worker has loaded its models.

        Raises:
            AntiphonError: it cannot, and says why, or it died, or it stands still.
        """
        while True:
            match await self._news():
                case Ready():
                    self._ready = True
                    return
                case Progress(text):
                    progress(text)
                case Fault() as fault:
                    raise fault.error()
                case _:
                    raise BackendUnavailable(f"worker {self.number} did not start: it {await self.ended()}")

    async def _news(self) -> Message | None:
        """What it says next. While it loads it tells of each step; one that is silent for so long never will be."""
        try:
            async with asyncio.timeout(SILENT_SEC):
                return await self._control.receive()
        except TimeoutError:
            fault = f"worker {self.number} did not start: it has said nothing for {SILENT_SEC:g} s"
            raise BackendUnavailable(fault) from None

    def go(self) -> None:
        """Let it take callers."""
        self._control.send(Go())

    def leave(self, seconds: float) -> None:
        """Let it let its callers go, and end."""
        self._control.send(Leave(seconds))

    async def ended(self) -> str:
        """Return when it has ended by itself, and how."""
        return _told(await self._process.wait())

    def kill(self) -> None:
        """End it as it stands."""
        self._process.kill()

    async def stop(self) -> None:
        """Let it end by itself, and end it where it takes too long or has nothing to end yet."""
        self._control.close()
        if not self._ready and self._process.returncode is None:
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_SEC):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def _told(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


@asynccontextmanager
async def worker_process(orders: Orders) -> AsyncIterator[WorkerProcess]:
    """Start a worker, and stop it on leaving.

    Raises:
        BackendUnavailable: the system makes no process.
    """
    ours, theirs = socket.socketpair()
    with theirs, ExitStack() as unless_started:
        unless_started.enter_context(ours)
        process = await _process(orders, theirs)
        unless_started.pop_all()
    control = await Control.over(ours)
    control.send(orders)
    worker = WorkerProcess(orders.number, process, control)
    try:
        yield worker
    finally:
        await worker.stop()


async def _process(orders: Orders, control: socket.socket) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "edge_client.realtime.worker"),
            stdin=control.fileno(),
            pass_fds=(orders.listening, orders.board),
            start_new_session=True,  # Ctrl-C is for the supervisor, which then stops all in order
        )
    except OSError as error:  # no memory, or no program: the other workers go on
        raise BackendUnavailable(f"worker {orders.number} did not start: {error}") from error
