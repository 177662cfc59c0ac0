"""The edge as a program: loads the models, joins the parts, serves until it is told to stop."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI

from edge_client.realtime.edge import Edge
from edge_client.realtime.engine import open_engine
from edge_client.realtime.server import create_app
from edge_client.settings import EdgeSettings
from routing.errors import SettingsError
from routing.router import Router

MAXIMUM_MESSAGE_BYTES = 4 * 1024 * 1024  # one WebSocket message: about a minute of sound
SHUTDOWN_SEC = 5  # for connections to end by themselves


@asynccontextmanager
async def open_edge(settings: EdgeSettings, *, progress: Callable[[str], None]) -> AsyncIterator[Edge]:
    """An edge with its models loaded and warm; ``progress`` hears of each.

    Raises:
        ModelError: the models are not there.
    """
    async with open_engine(settings, progress=progress) as engine:
        yield Edge(settings=settings, hearing=engine.hearing, backend=Router(engine.backend))


async def serve(settings: EdgeSettings, *, progress: Callable[[str], None], ready: Callable[[str], None]) -> None:
    """Run the edge until SIGINT or SIGTERM; ``ready`` is told the address once callers are welcome.

    Raises:
        ModelError: the models are not there.
        SettingsError: the address cannot be used.
    """
    with _bound(settings) as bound:
        address = _address(settings, bound)
        async with open_edge(settings, progress=progress) as edge:
            _listen(settings, bound)
            await _serve(create_app(edge, on_ready=lambda: ready(address)), bound)


def _bound(settings: EdgeSettings) -> socket.socket:
    """A socket with the address taken, that refuses callers until it is served."""
    bound = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((settings.host, settings.port))
    except OSError as error:
        bound.close()
        raise _taken(settings, error) from error
    return bound


def _listen(settings: EdgeSettings, bound: socket.socket) -> None:
    """Where two edges have started at once, both could take the address, but only one can listen."""
    try:
        bound.listen()
    except OSError as error:
        raise _taken(settings, error) from error


def _taken(settings: EdgeSettings, error: OSError) -> SettingsError:
    return SettingsError(f"cannot listen on {settings.host} port {settings.port}: {error.strerror}")


def _address(settings: EdgeSettings, bound: socket.socket) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{bound.getsockname()[1]}"


async def _serve(app: FastAPI, bound: socket.socket) -> None:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        ws_max_size=MAXIMUM_MESSAGE_BYTES,
        timeout_graceful_shutdown=SHUTDOWN_SEC,
    )
    await uvicorn.Server(config).serve(sockets=[bound])
