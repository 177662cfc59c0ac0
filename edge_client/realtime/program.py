"""The edge as a program: loads the models, joins the parts, serves until it is told to stop."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from edge_client.device.backend import DeviceBackend
from edge_client.device.skills import load_skills
from edge_client.hearing import Hearing
from edge_client.models.library import load_library
from edge_client.models.store import ModelStore, default_folder
from edge_client.realtime.edge import Edge
from edge_client.realtime.server import create_app
from edge_client.settings import EdgeSettings
from routing.errors import SettingsError
from routing.router import Router

logger = logging.getLogger(__name__)

MAXIMUM_MESSAGE_BYTES = 4 * 1024 * 1024  # one WebSocket message: about a minute of sound


async def serve(
    settings: EdgeSettings,
    *,
    ready: Callable[[str], None],
    progress: Callable[[str], None] = logger.info,
) -> None:
    """Run the edge until SIGINT or SIGTERM. ``progress`` hears what is being loaded, ``ready`` the address.

    Raises:
        ModelError: the models are not there.
        SettingsError: the address cannot be used.
    """
    listening = _listen(settings)
    library = await load_library(ModelStore(default_folder(os.environ)), progress=progress)
    try:
        backend = DeviceBackend(
            library=library, skills=load_skills(settings.device.skills), settings=settings.device
        )
        edge = Edge(settings=settings, hearing=Hearing.from_library(library), backend=Router(backend))
        address = _address(settings, listening)
        await _run(create_app(edge, on_ready=lambda: ready(address)), listening)
    finally:
        library.close()


def _listen(settings: EdgeSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise SettingsError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror}"
        ) from error
    return listening


def _address(settings: EdgeSettings, listening: socket.socket) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{listening.getsockname()[1]}"


async def _run(app: FastAPI, listening: socket.socket) -> None:
    config = uvicorn.Config(
        app, log_config=None, access_log=False, ws_max_size=MAXIMUM_MESSAGE_BYTES, timeout_graceful_shutdown=5
    )
    await uvicorn.Server(config).serve(sockets=[listening])
