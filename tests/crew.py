"""Workers of one edge for tests: in this process, each with a port of its own besides the private sockets."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from edge_client.hearing import Hearing
from edge_client.models.thread import ModelThread
from edge_client.realtime.edge import Edge
from edge_client.realtime.entrance import Entrances, arrivals_socket
from edge_client.realtime.server import create_app
from edge_client.realtime.worker import BEAT_SEC
from edge_client.realtime.worker_server import WorkerServer
from edge_client.settings import EdgeSettings
from edge_client.workers.board import Board
from edge_client.workers.crew import Crew, share
from edge_client.workers.siblings import Siblings, private_socket
from routing.router import Router
from routing.telemetry import names
from routing.telemetry.program import open_telemetry
from tests.edge import RunningEdge
from tests.scripted import LoudnessDetector, ScriptedBackend, ScriptedJudge

SIGNING_KEY = b"the same for all"


@dataclass(frozen=True, slots=True)
class Workplace:
    """What a supervisor would have prepared."""

    folder: Path
    board: Board


@contextmanager
def workplace(workers: int) -> Iterator[Workplace]:
    with tempfile.TemporaryDirectory(prefix="crew-") as folder, tempfile.TemporaryFile() as file:
        file.truncate(Board.size(workers))
        with closing(Board(file.fileno(), workers)) as board:
            yield Workplace(Path(folder), board)


@asynccontextmanager
async def running_crew(place: Workplace, *, workers: int, **settings: Any) -> AsyncIterator[list[RunningEdge]]:
    """All of them up and known to each other."""
    async with AsyncExitStack() as stack:
        whole = EdgeSettings(**settings, workers=workers)
        edges = [
            await stack.enter_async_context(running_worker(place, whole, number=number)) for number in range(workers)
        ]
        yield edges


@asynccontextmanager
async def running_worker(place: Workplace, whole: EdgeSettings, *, number: int) -> AsyncIterator[RunningEdge]:
    places = share(whole.maximum_sessions, workers=whole.workers, number=number)
    settings = whole.model_copy(update={"maximum_sessions": places})
    async with (
        open_telemetry(settings.telemetry, service=names.EDGE) as telemetry,
        Siblings(place.folder, own=number, workers=whole.workers) as siblings,
    ):
        crew = Crew(number=number, places=places, signing_key=SIGNING_KEY, board=place.board, siblings=siblings)
        with closing(ModelThread("loudness")) as thread:
            hearing = Hearing(LoudnessDetector, thread, ScriptedJudge())
            backend = Router.over(ScriptedBackend())
            edge = Edge(settings=settings, hearing=hearing, backend=backend, telemetry=telemetry, crew=crew)
            async with _served(edge, place.folder) as url:
                yield RunningEdge(url, edge)


@asynccontextmanager
async def _served(edge: Edge, folder: Path) -> AsyncIterator[str]:
    assert edge.crew
    up, go = asyncio.Event(), asyncio.Event()
    go.set()
    config = uvicorn.Config(create_app(edge), log_config=None, timeout_graceful_shutdown=2, lifespan="on")
    server = WorkerServer(config, on_started=up.set)
    private = await asyncio.to_thread(private_socket, folder, edge.crew.number)
    arrivals = await asyncio.to_thread(arrivals_socket, folder, edge.crew.number)
    with (
        private,
        arrivals,
        closing(Entrances(folder, edge.crew, server.new_protocol, arrivals)) as entrances,
        socket.create_server(("127.0.0.1", 0)) as public,
    ):
        url = f"http://127.0.0.1:{public.getsockname()[1]}"
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve(sockets=[private]))
            await up.wait()
            await server.welcome(go, public, entrances)
            edge.crew.beat()
            beating = tasks.create_task(_beat(edge.crew))
            try:
                yield url
            finally:
                beating.cancel()
                server.stop()


async def _beat(crew: Crew) -> None:
    """As the program does it: whoever is silent for long is taken for stuck, also where only the story takes long."""
    while True:
        await asyncio.sleep(BEAT_SEC)
        crew.beat()
