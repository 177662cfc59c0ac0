"""Several workers behind one port: they are started, watched, started again where one dies, and stopped together."""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from edge_client.settings import EdgeSettings
from edge_client.signals import ending_signals
from edge_client.workers.board import Board
from edge_client.workers.listening import address, bound_socket, listen
from edge_client.workers.orders import Orders
from edge_client.workers.worker_process import WorkerProcess, worker_process
from routing.errors import AntiphonError, SettingsError
from routing.telemetry.logs import form_in_use

logger = logging.getLogger(__name__)

FIRST_WAIT_SEC = 0.5
LONGEST_WAIT_SEC = 30.0
LOOK_SEC = 1.0
STUCK_SEC = 15.0  # its callers have given it up by then
WELL_SEC = 60.0  # a worker that lived for so long died of something new

type Tell = Callable[[str], None]


async def supervise(settings: EdgeSettings, *, progress: Tell, ready: Tell) -> None:
    """Run an edge of several workers until it is told to stop; ``ready`` is told the address once all take callers.

    SIGTERM and SIGHUP let the sessions go first, where there is time for that: ``drain_sec``. SIGINT, and whatever
    comes after those, ends all at once.

    Raises:
        ModelError: the models are not there.
        SettingsError: the address cannot be used, or this system cannot share it.
        BackendUnavailable: a worker could not be started.
    """
    if sys.platform == "win32":
        raise SettingsError("expected one worker, got several: processes cannot share a port on this system")
    workers, stops = settings.workers, Stops(settings.drain_sec)
    with _signals_told(stops), bound_socket(settings) as bound, _board_file(workers) as board_file, _folder() as folder:
        orders = Orders(
            number=0,
            settings=settings,
            signing_key=secrets.token_bytes(32),
            folder=folder,
            listening=bound.fileno(),
            board=board_file,
            log_level=logging.getLogger().level,
            log_form=form_in_use(),
        )

        def open_to_all() -> None:
            listen(settings, bound)
            ready(address(settings, bound))

        bound.setblocking(False)  # for all workers: one may find that another was quicker
        with closing(Board(board_file, workers)) as board:
            await _Supervisor(orders, board, progress=progress, open_to_all=open_to_all).run(stops)


@contextmanager
def _board_file(workers: int) -> Iterator[int]:
    """Memory to share. It has no name, so nothing is left of it."""
    with tempfile.TemporaryFile() as file:
        file.truncate(Board.size(workers))
        yield file.fileno()


@contextmanager
def _folder() -> Iterator[Path]:
    """For the workers' private sockets; nobody else may enter."""
    with tempfile.TemporaryDirectory(prefix="antiphon-", ignore_cleanup_errors=True) as name:
        yield Path(name)


class Stops:
    """How far an edge has been told to stop. There may be ``drain_sec`` for its sessions to go."""

    def __init__(self, drain_sec: float) -> None:
        self.drain_sec = drain_sec
        self.drain = asyncio.Event()
        self.now = asyncio.Event()

    def tell(self, number: signal.Signals) -> None:
        """A signal has come."""
        gently = number != signal.SIGINT and self.drain_sec and not self.drain.is_set()
        (self.drain if gently else self.now).set()


@contextmanager
def _signals_told(stops: Stops) -> Iterator[None]:
    """Signals are told. After the block they have their usual effect, like those that one edge by itself gets."""
    loop, caught = asyncio.get_running_loop(), list[signal.Signals]()

    def catch(number: signal.Signals) -> None:
        caught.append(number)
        stops.tell(number)

    before = {number: signal.getsignal(number) for number in ending_signals()}
    for number in before:
        loop.add_signal_handler(number, catch, number)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
        for number in dict.fromkeys(caught):
            signal.raise_signal(number)


class BackOff:
    """How long to wait before a worker is started again: longer each time it dies young."""

    def __init__(self) -> None:
        self._wait_sec = FIRST_WAIT_SEC

    def wait_sec(self, lived_sec: float) -> float:
        if lived_sec >= WELL_SEC:
            self._wait_sec = FIRST_WAIT_SEC
        wait_sec = self._wait_sec
        self._wait_sec = min(2 * wait_sec, LONGEST_WAIT_SEC)
        return wait_sec


class _Supervisor:
    """Minds one process per worker. ``open_to_all`` is called once, when all of them are ready."""

    def __init__(self, orders: Orders, board: Board, *, progress: Tell, open_to_all: Callable[[], None]) -> None:
        self._orders = orders
        self._board = board
        self._progress = progress
        self._open_to_all = open_to_all
        self._open = asyncio.Event()
        self._ready: set[int] = set()
        self._serving: dict[int, WorkerProcess] = {}
        self._leaving = False

    async def run(self, stops: Stops) -> None:
        """Until it is told to stop now, or all workers have ended after a drain.

        Raises:
            AntiphonError: a worker did not get ready at the start. Later ones are started again.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                minding = [tasks.create_task(self._mind(number)) for number in range(self._workers)]
                draining = tasks.create_task(self._drain(stops, minding))
                await stops.now.wait()
                for task in (*minding, draining):
                    task.cancel()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _drain(self, stops: Stops, minding: Sequence[asyncio.Task[None]]) -> None:
        """Once told to, let all workers end by themselves; none is started again."""
        await stops.drain.wait()
        self._leaving = True
        for number, task in enumerate(minding):
            if worker := self._serving.get(number):
                worker.leave(stops.drain_sec)
            else:
                task.cancel()
        await asyncio.wait(minding)
        stops.now.set()

    @property
    def _workers(self) -> int:
        return self._orders.settings.workers

    async def _mind(self, number: int) -> None:
        """Have a worker of this number, whatever befalls it."""
        back_off = BackOff()
        while True:
            began = time.monotonic()
            death = await self._live(number)
            self._board.clear(number)
            if self._leaving:
                logger.info("worker %d %s", number, death)
                return
            wait_sec = back_off.wait_sec(time.monotonic() - began)
            logger.error("worker %d %s; another one is started in %g s", number, death, wait_sec)
            await asyncio.sleep(wait_sec)

    async def _live(self, number: int) -> str:
        """The life of one process; returns how it ended."""
        try:
            async with worker_process(self._orders.to(number)) as worker:
                await worker.ready(partial(self._tell, number))
                self._one_is_ready(number)
                await self._open.wait()
                worker.go()
                self._serving[number] = worker
                return await self._end(worker)
        except AntiphonError as error:
            if not self._open.is_set():
                raise
            return f"could not be started: {error}"
        finally:
            self._serving.pop(number, None)

    async def _end(self, worker: WorkerProcess) -> str:
        """How a worker ends: by itself, or because its event loop stands still, and with it all that it carries."""
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._end_if_stuck(worker))
            how = await worker.ended()
            watching.cancel()
        return how

    async def _end_if_stuck(self, worker: WorkerProcess) -> None:
        while self._board.silence_sec(worker.number, now=time.monotonic()) < STUCK_SEC:  # noqa: ASYNC110 (it is memory)
            await asyncio.sleep(LOOK_SEC)
        logger.error("worker %d has given no sign of life for %g s", worker.number, STUCK_SEC)
        worker.kill()

    def _tell(self, number: int, text: str) -> None:
        """All load the same; it is enough to hear of one."""
        if number == 0 and not self._open.is_set():
            self._progress(text)

    def _one_is_ready(self, number: int) -> None:
        self._ready.add(number)
        if self._open.is_set():
            logger.warning("worker %d is back", number)
            return
        self._progress(f"{len(self._ready)} of {self._workers} workers are ready")
        if len(self._ready) == self._workers:
            self._open_to_all()
            self._open.set()
