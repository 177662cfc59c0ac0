"""One of several workers: a whole edge in a process of its own, begun and ended by its supervisor."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing

import uvicorn
from fastapi import FastAPI

from edge_client.event_loop import run
from edge_client.realtime.board import Board
from edge_client.realtime.crew import Crew, share
from edge_client.realtime.door import Door
from edge_client.realtime.edge import Edge
from edge_client.realtime.orders import Control, Fault, Go, Orders, Progress, Ready, receive_orders
from edge_client.realtime.program import open_edge, server_config
from edge_client.realtime.server import create_app
from edge_client.realtime.siblings import Siblings, private_socket
from routing.errors import AntiphonError

BEAT_SEC = 0.25


def main() -> None:
    """Run until the supervisor ends, or its end of standard input does: that is the socket between the two."""
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as control:
        orders = receive_orders(control)
        logging.basicConfig(
            level=orders.log_level,
            format=f"%(asctime)s %(levelname)s worker {orders.number} %(name)s: %(message)s",
        )
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
        self._server: _Server | None = None

    async def work(self) -> None:
        listening_to = asyncio.create_task(self._listen_to_supervisor(asyncio.current_task()))
        try:
            async with self._edge() as (edge, crew):
                await self._serve(edge, crew)
        finally:
            listening_to.cancel()

    async def _listen_to_supervisor(self, work: asyncio.Task[None] | None) -> None:
        while message := await self._control.receive():
            if isinstance(message, Go) and self._server:
                self._server.welcome()
        self.dismissed = True
        if self._server:
            self._server.should_exit = True
        elif work:
            work.cancel()

    @asynccontextmanager
    async def _edge(self) -> AsyncIterator[tuple[Edge, Crew]]:
        orders, workers = self._orders, self._orders.settings.workers
        places = share(orders.settings.maximum_sessions, workers=workers, number=orders.number)
        settings = orders.settings.model_copy(update={"maximum_sessions": places})
        with closing(Board(orders.board, workers)) as board:
            async with Siblings(orders.folder, own=orders.number, workers=workers) as siblings:
                crew = Crew(
                    number=orders.number,
                    places=places,
                    signing_key=orders.signing_key,
                    board=board,
                    siblings=siblings,
                )
                async with open_edge(settings, progress=self._progress, crew=crew) as edge:
                    yield edge, crew

    def _progress(self, text: str) -> None:
        self._control.send(Progress(text))

    async def _serve(self, edge: Edge, crew: Crew) -> None:
        with (
            socket.socket(fileno=self._orders.listening) as listening,
            private_socket(self._orders.folder, self._orders.number) as private,
        ):
            self._server = _Server(create_app(edge), listening, crew, on_started=lambda: self._control.send(Ready()))
            beating = asyncio.create_task(self._server.beat())
            try:
                await self._server.serve(sockets=[private])
            finally:
                beating.cancel()


class _Server(uvicorn.Server):
    """Serves the other workers as soon as it has started, and callers once it was told to."""

    def __init__(self, app: FastAPI, listening: socket.socket, crew: Crew, *, on_started: Callable[[], None]) -> None:
        super().__init__(server_config(app))
        self._crew = crew
        self._on_started = on_started
        self._door = Door(listening, self._new_protocol)
        self._welcoming = False

    def _new_protocol(self) -> asyncio.Protocol:
        """As for the sockets that uvicorn listens on itself."""
        new_protocol: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return new_protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    def welcome(self) -> None:
        """Take callers from now on."""
        self._welcoming = True
        self._crew.on_change = self._look
        self._look()

    async def beat(self) -> None:
        while True:
            if self._welcoming:
                self._look()
            await asyncio.sleep(BEAT_SEC)

    def _look(self) -> None:
        self._crew.beat()
        self._door.set_open(self._welcoming and self._crew.welcomes())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._welcoming = False
        self._door.set_open(False)
        await super().shutdown(sockets)


if __name__ == "__main__":
    main()
