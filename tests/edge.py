"""Running edges for tests: in this process with a scripted backend, or the real program in a process of its own."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from edge_client.caller.edge_process import READY
from edge_client.hearing import Hearing
from edge_client.models.thread import ModelThread
from edge_client.realtime.drain import Drain
from edge_client.realtime.edge import Edge
from edge_client.realtime.idle_connections import close_idle_connections
from edge_client.realtime.server import create_app
from edge_client.settings import PREFIX, READ_ELSEWHERE, EdgeSettings
from routing.router import Router
from routing.telemetry.program import Telemetry
from routing.turns import Backend
from tests.scripted import LoudnessDetector, ScriptedBackend, ScriptedJudge

START_SEC = 60
LONGEST_LOG = 2**20  # bytes, of what is written until it has started


# -- an edge in this process -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunningEdge:
    url: str
    edge: Edge

    @property
    def socket_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/v1/realtime"


@asynccontextmanager
async def running_edge(
    backend: Backend | None = None, *, judge: ScriptedJudge | None = None, **settings: Any
) -> AsyncIterator[RunningEdge]:
    """An edge on a free port of loopback, real but for its models."""
    async with scripted_edge(backend, judge=judge, **settings) as edge, served(edge) as running:
        yield running


@asynccontextmanager
async def scripted_edge(
    backend: Backend | None = None,
    *,
    judge: ScriptedJudge | None = None,
    routed: bool = True,
    traced: Telemetry | None = None,
    **settings: Any,
) -> AsyncIterator[Edge]:
    """An edge that is real but for its models; a backend that places its turns by itself needs not be ``routed``."""
    with closing(ModelThread("loudness")) as thread:
        hearing = Hearing(LoudnessDetector, thread, judge or ScriptedJudge())
        answering = backend or ScriptedBackend()
        yield Edge(
            settings=EdgeSettings(**settings),
            hearing=hearing,
            backend=Router.over(answering) if routed else answering,
            telemetry=traced,
        )


@asynccontextmanager
async def served(edge: Edge, address: tuple[str, int] = ("127.0.0.1", 0)) -> AsyncIterator[RunningEdge]:
    """The edge, open to callers at this address."""
    ready = asyncio.Event()
    with socket.create_server(address) as listening:
        config = uvicorn.Config(
            create_app(edge, on_ready=ready.set), log_config=None, timeout_graceful_shutdown=2, lifespan="on"
        )
        server = PromptServer(config)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve(sockets=[listening]))
            draining = tasks.create_task(server.follow(edge.drain))
            await ready.wait()
            try:
                host, port = listening.getsockname()
                yield RunningEdge(f"http://{host}:{port}", edge)
            finally:
                draining.cancel()
                server.leave()


class PromptServer(uvicorn.Server):
    """One that ends as soon as it is told to: uvicorn's own looks ten times a second whether it was."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        self._leaving.set()

    async def follow(self, drain: Drain) -> None:
        """As the program does it."""
        await drain.begun()
        close_idle_connections(self)

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self._leaving.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._connections_closed()
        await self.lifespan.shutdown()

    async def _connections_closed(self) -> None:
        """Those that do not go by themselves are cut off after a while."""
        state = self.server_state
        try:
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                while state.connections or state.tasks:
                    await asyncio.sleep(0.002)
        except TimeoutError:
            for task in state.tasks:
                task.cancel()


# -- the program itself ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EdgeProcess:
    """`antiphon edge` with the real models, and the file that it writes its traces to."""

    url: str
    traces: Path
    key: str | None = None


@contextmanager
def edge_program() -> Iterator[EdgeProcess]:
    """The program on a free port of loopback, in development mode."""
    command = [sys.executable, "-m", "edge_client.cli", "edge", "--port", "0"]
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=_environment(folder)) as process,
    ):
        try:
            yield EdgeProcess(_address(process, log.fileno()), _traces(folder))
        finally:
            process.terminate()
            process.wait(60)
            log.seek(0)
            _keep(log.read())


def _environment(folder: str) -> dict[str, str]:
    """This one without the settings of an edge, whoever made them."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX) or name in READ_ELSEWHERE}
    return kept | {f"{PREFIX}TELEMETRY__FILE": str(_traces(folder))}


def _traces(folder: str) -> Path:
    return Path(folder) / "traces.jsonl"


def _address(process: subprocess.Popen[bytes], log: int) -> str:
    """Where it takes calls, as soon as it says so. What it writes next does not depend on where we have read."""
    deadline = time.monotonic() + START_SEC
    while time.monotonic() < deadline and process.poll() is None:
        if said := re.search(rf"{READY} (\S+)\n", os.pread(log, LONGEST_LOG, 0).decode(errors="replace")):
            return said[1]
        time.sleep(0.1)
    raise AssertionError(f"the edge did not start within {START_SEC} s (exit code {process.poll()})")


def _keep(log: str) -> None:
    """Its output stays where a failed test can be explained by it."""
    folder = Path("artifacts")
    folder.mkdir(exist_ok=True)
    (folder / "edge.log").write_text(log)
