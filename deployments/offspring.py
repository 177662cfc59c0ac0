"""All processes that came of this one, however far removed, and whoever started them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import uuid4

PROCESSES = Path("/proc")
GENERATION_SEC = 0.05  # a killed process is gone by then, unless the system holds it
MOST_GENERATIONS = 200  # a dozen processes that end at once need some seconds where others have the cores


class Offspring:
    """Known by a mark in their environment, which everyone inherits: those whose parents are gone have nothing else.

    Where the system does not show the environment of processes, none is known.
    """

    def __init__(self) -> None:
        self._id = uuid4().hex

    @property
    def mark(self) -> Mapping[str, str]:
        """To be in the environment before the first of them is started."""
        return {"ANTIPHON_OFFSPRING": self._id}

    def pids(self) -> Iterator[int]:
        """Those that run."""
        mark = f"ANTIPHON_OFFSPRING={self._id}".encode()
        for environment in PROCESSES.glob("[0-9]*/environ"):
            pid = int(environment.parent.name)
            if pid != os.getpid() and mark in _read(environment).split(b"\0"):
                yield pid

    def kill(self) -> None:
        """End them, and whoever they start meanwhile. Blocks, for moments."""
        for _ in range(MOST_GENERATIONS):
            pids = list(self.pids())
            if not pids:
                return
            for pid in pids:
                _kill(pid)
            time.sleep(GENERATION_SEC)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has ended by itself


def _read(environment: Path) -> bytes:
    try:
        return environment.read_bytes()
    except OSError:
        return b""  # it has ended, or is somebody else's
