"""The edge as a program: loads the models, joins the parts, serves until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from types import FrameType
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from uvicorn.server import HANDLED_SIGNALS

from edge_client.cloud.connection import cloud_tls
from edge_client.event_loop import lasting_memory
from edge_client.realtime.addresses import Proxies
from edge_client.realtime.doorkeeper import Doorway
from edge_client.realtime.drain import Drain
from edge_client.realtime.edge import Edge
from edge_client.realtime.edge_metrics import EdgeMetrics
from edge_client.realtime.engine import open_engine
from edge_client.realtime.idle_connections import close_idle_connections
from edge_client.realtime.key_files import open_ring
from edge_client.realtime.refusals import refuse_quietly
from edge_client.realtime.server import create_app
from edge_client.realtime.socket_protocol import SocketProtocol
from edge_client.realtime.switchboard import open_switchboard, who_may_answer
from edge_client.settings import EdgeSettings
from edge_client.signals import ending_signals, signals_caught
from edge_client.tls import Identity, server_identity
from edge_client.workers.crew import Crew
from edge_client.workers.listening import address, bound_socket, listen
from routing.telemetry import names
from routing.telemetry.power import metering
from routing.telemetry.program import open_telemetry

MAXIMUM_MESSAGE_BYTES = 4 * 1024 * 1024  # one WebSocket message: about a minute of sound
SHUTDOWN_SEC = 5  # for connections to end by themselves
KEEP_ALIVE_SEC = 75  # of idle connections: a page is looked at before its caller dials, and a new one costs round trips


@asynccontextmanager
async def open_edge(
    settings: EdgeSettings, *, progress: Callable[[str], None], crew: Crew | None = None
) -> AsyncIterator[Edge]:
    """An edge with its models loaded and warm; ``progress`` hears of each. A worker of several has a ``crew``.

    Raises:
        ModelError: the models are not there.
        SettingsError: there are no good keys where they should be, or the placements or the traces cannot be written.
    """
    async with AsyncExitStack() as stack:
        telemetry = await stack.enter_async_context(open_telemetry(settings.telemetry, service=names.EDGE))
        if crew is None or crew.number == 0:  # the meters are the machine's, not a worker's
            await stack.enter_async_context(metering(telemetry.instruments))
        keys = await asyncio.to_thread(open_ring, settings, crew)
        if settings.cloud.certificate_file is not None:
            await asyncio.to_thread(cloud_tls, settings.cloud)  # faults show at once, and not with the first turn
        engine = await stack.enter_async_context(open_engine(settings, progress=progress))
        metrics = EdgeMetrics(telemetry.instruments, targets=who_may_answer(settings, engine.backend))
        board = await stack.enter_async_context(
            open_switchboard(
                settings,
                engine.backend,
                telemetry,
                on_attempt=metrics.note_attempt,
                on_placed=metrics.note_placed,
            )
        )
        with lasting_memory():
            yield Edge(
                settings=settings,
                hearing=engine.hearing,
                backend=board.router,
                telemetry=telemetry,
                metrics=metrics,
                crew=crew,
                keys=keys,
                routing=board.statistics,
            )


async def serve(settings: EdgeSettings, *, progress: Callable[[str], None], ready: Callable[[str], None]) -> None:
    """Run the edge until it is told to stop; ``ready`` is told the address once callers are welcome.

    SIGTERM and SIGHUP let its sessions go first, where there is time for that: ``drain_sec``. SIGINT, and whatever
    comes after those, ends it at once.

    Raises:
        ModelError: the models are not there.
        SettingsError: the address cannot be used, or there is no certificate where one should be.
    """
    with bound_socket(settings) as bound:
        url = address(settings, bound)
        identity = await asyncio.to_thread(server_identity, settings.tls)
        async with open_edge(settings, progress=progress) as edge:
            listen(settings, bound)
            config = server_config(create_app(edge, on_ready=lambda: ready(url)), identity)
            server = _PatientServer(config, edge.drain, settings.drain_sec, head_sec=settings.limits.head_sec)
            async with _kept(identity):
                told = await _serve_until_told(server, bound)
    if told:
        signal.raise_signal(told)


@asynccontextmanager
async def _kept(identity: Identity | None) -> AsyncIterator[None]:
    """Follow the certificate until the block ends."""
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(identity.keep()) if identity else None
        yield
        if keeping:
            keeping.cancel()


async def _serve_until_told(server: _PatientServer, bound: socket.socket) -> int:
    """The signal that it was told by. The server, when done, raises it again, which would end the program at once.

    It is left for when all is freed and the last traces are written.
    """
    told: list[int] = []
    with signals_caught(ending_signals(), lambda caught, frame: told.append(caught)):
        async with asyncio.TaskGroup() as tasks:
            leaving = tasks.create_task(server.leave())
            await server.serve(sockets=[bound])
            leaving.cancel()
    return told[-1] if told else 0  # raised again in reverse order


class _PatientServer(uvicorn.Server):
    """Leaves nothing undone for somebody who presses Ctrl-C twice: the time that it may take is bounded.

    The first signal of an operator begins the ``drain``, where that may take any time.
    """

    def __init__(self, config: uvicorn.Config, drain: Drain, drain_sec: float, *, head_sec: float) -> None:
        super().__init__(config)
        self._head_sec = head_sec
        self._drain = drain
        self._drain_sec = drain_sec
        self._loop = asyncio.get_running_loop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's own, which gives a handshake of TLS a minute: here it has the time of a head."""
        await super().startup(sockets=[])
        config = self.config
        patience_sec = (self._head_sec or None) if config.ssl else None
        for each in sockets or ():
            server = await self._loop.create_server(
                self._new_protocol,
                sock=each,
                ssl=config.ssl,
                ssl_handshake_timeout=patience_sec,
                backlog=config.backlog,
            )
            self.servers.append(server)

    def _new_protocol(self) -> asyncio.Protocol:
        new_protocol: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return new_protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        others = [number for number in ending_signals() if number not in HANDLED_SIGNALS]
        with super().capture_signals(), signals_caught(others, self.handle_exit):
            yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig != signal.SIGINT and self._drain_sec and not self._captured_signals:
            self._captured_signals.append(sig)
            self._loop.call_soon_threadsafe(self._drain.begin, self._drain_sec)
            return
        super().handle_exit(sig, frame)
        self.force_exit = False

    async def leave(self) -> None:
        """End when nobody is left to serve after a drain."""
        await self._drain.begun()
        close_idle_connections(self)
        await self._drain.over()
        self.should_exit = True


class _Config(uvicorn.Config):
    """One whose connections go through a doorway, and are encrypted where there is an identity."""

    def __init__(self, app: FastAPI, *, doorway: Doorway, identity: Identity | None, **settings: Any) -> None:
        super().__init__(app, **settings)
        self._doorway = doorway
        self._identity = identity

    def load(self) -> None:
        super().load()
        if self._identity:
            self.ssl = self._identity.context
        self.http_protocol_class = cast(Any, self._doorway.watched(self.http_protocol_class))


def server_config(app: FastAPI, identity: Identity | None = None) -> uvicorn.Config:
    """How an edge is served, alone or as one of several; with an ``identity`` over TLS."""
    refuse_quietly()
    settings: EdgeSettings = app.state.edge.settings
    limits = settings.limits
    doorway = Doorway(
        head_sec=limits.head_sec,
        most_silent=0 if settings.development else limits.silent_per_address,
        is_trusted=Proxies(settings.trusted_proxies).trusts,
    )
    return _Config(
        app,
        doorway=doorway,
        identity=identity,
        server_header=False,  # what we are made of is nobody's business
        proxy_headers=False,  # whom proxies speak for is our own settings' business
        log_config=None,
        access_log=False,
        ws=SocketProtocol,
        ws_max_size=MAXIMUM_MESSAGE_BYTES,
        timeout_graceful_shutdown=SHUTDOWN_SEC,
        timeout_keep_alive=KEEP_ALIVE_SEC,
    )
