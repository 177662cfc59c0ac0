"""One of several workers: a whole edge in a process of its own, begun and ended by its supervisor."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing

from edge_client.event_loop import run
from edge_client.realtime.edge import Edge
from edge_client.realtime.entrance import Entrances, arrivals_socket
from edge_client.realtime.program import open_edge, server_config
from edge_client.realtime.server import create_app
from edge_client.realtime.worker_server import WorkerServer
from edge_client.workers.board import Board
from edge_client.workers.crew import Crew, share
from edge_client.workers.orders import Control, Fault, Go, Leave, Orders, Progress, Ready, receive_orders
from edge_client.workers.siblings import Siblings, private_socket
from routing.errors import AntiphonError
from routing.telemetry.logs import log_to_stderr

BEAT_SEC = 0.25


def main() -> None:
    """Run until the supervisor ends, or its end of standard input does: that is the socket between the two."""
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as control:
        orders = receive_orders(control)
        log_to_stderr(orders.log_level, orders.log_form, worker=orders.number)
        if run(_obey(orders, control)):
            # All workers end now, and a supervisor that was killed has left the folder behind.
            shutil.rmtree(orders.folder, ignore_errors=True)


async def _obey(orders: Orders, connected: socket.socket) -> bool:
    """Work; returns whether the supervisor ended it."""
    control = await Control.over(connected)
    worker = _Worker(orders, control)
    try:
        await worker.work()
    except AntiphonError as error:
        control.send(Fault(type(error).__name__, str(error)))
    except asyncio.CancelledError:
        pass  # dismissed while the models were loading
    finally:
        control.close()
    return worker.dismissed


class _Worker:
    """`work` serves until the supervisor's end of ``control`` closes, or a signal comes."""

    def __init__(self, orders: Orders, control: Control) -> None:
        self.dismissed = False
        self._orders = orders
        self._control = control
        self._go = asyncio.Event()
        self._stop: Callable[[], object] = lambda: None
        self._drain: Callable[[float], object] = lambda seconds: None

    async def work(self) -> None:
        obeying = asyncio.create_task(self._obey())
        self._stop = _cancel_of_this_task()
        try:
            async with self._edge() as edge:
                await self._serve(edge)
        finally:
            obeying.cancel()

    async def _obey(self) -> None:
        """Do what the supervisor says, until it has gone."""
        while message := await self._control.receive():
            match message:
                case Go():
                    self._go.set()
                case Leave(seconds=seconds):
                    self._drain(seconds)
        self.dismissed = True
        self._stop()

    @asynccontextmanager
    async def _edge(self) -> AsyncIterator[Edge]:
        orders, workers = self._orders, self._orders.settings.workers
        places = share(orders.settings.maximum_sessions, workers=workers, number=orders.number)
        settings = orders.settings.model_copy(update={"maximum_sessions": places})
        async with Siblings(orders.folder, own=orders.number, workers=workers) as siblings:
            with closing(Board(orders.board, workers)) as board:
                crew = Crew(
                    number=orders.number, places=places, signing_key=orders.signing_key, board=board, siblings=siblings
                )
                async with open_edge(settings, progress=self._progress, crew=crew) as edge:
                    yield edge

    def _progress(self, text: str) -> None:
        self._control.send(Progress(text))

    async def _serve(self, edge: Edge) -> None:
        """Serve the other workers from now on, and callers once the supervisor says so."""
        assert edge.crew
        server = WorkerServer(server_config(create_app(edge)), on_started=lambda: self._control.send(Ready()))
        self._stop, self._drain = server.stop, edge.drain.begin
        folder, listening = self._orders.folder, socket.socket(fileno=self._orders.listening)
        with (
            listening,
            private_socket(folder, edge.crew.number) as private,
            arrivals_socket(folder, edge.crew.number) as arrivals,
            closing(Entrances(folder, edge.crew, server.new_protocol, arrivals)) as entrances,
        ):
            async with asyncio.TaskGroup() as tasks:
                aside = [
                    tasks.create_task(_beat(edge.crew)),
                    tasks.create_task(server.welcome(self._go, listening, entrances)),
                    tasks.create_task(server.stop_after(edge.drain)),
                ]
                await server.serve(sockets=[private])
                for task in aside:
                    task.cancel()


def _cancel_of_this_task() -> Callable[[], object]:
    task = asyncio.current_task()
    assert task
    return task.cancel


async def _beat(crew: Crew) -> None:
    while True:
        crew.beat()
        await asyncio.sleep(BEAT_SEC)


if __name__ == "__main__":
    main()
