"""What every server here has in common: the tone it answers with, and how it takes calls."""

from __future__ import annotations

import argparse
import socket
import sys

import numpy as np
import uvicorn
from fastapi import FastAPI
from numpy.typing import NDArray

SAMPLE_RATE = 24_000
TONE_HZ = 1_000
TONE_SEC = 0.8
TONE_LEVEL = 0.3
EDGE_SEC = 0.005  # the rise and the fall

STOP_SEC = 2  # for calls that are open when the server is told to end


def tone() -> NDArray[np.int16]:
    """The answer to every turn, mono at `SAMPLE_RATE`: the one that ``antiphon edge --engine tone`` gives."""
    time = np.arange(round(TONE_SEC * SAMPLE_RATE)) / SAMPLE_RATE
    edges = np.minimum(1, np.minimum(time, TONE_SEC - time) / EDGE_SEC)
    return np.round(32767 * TONE_LEVEL * edges * np.sin(2 * np.pi * TONE_HZ * time)).astype(np.int16)


def serve(app: FastAPI, *, path: str) -> None:
    """Take calls on loopback until SIGTERM; says ``ready at URL`` when the first one may come.

    ``path`` is where offers are posted. The port is any free one, or that of ``--port``.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    with socket.create_server(("127.0.0.1", parser.parse_args().port)) as listening:
        sys.stdout.write(f"ready at http://127.0.0.1:{listening.getsockname()[1]}{path}\n")
        sys.stdout.flush()
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=STOP_SEC)
        uvicorn.Server(config).run(sockets=[listening])
