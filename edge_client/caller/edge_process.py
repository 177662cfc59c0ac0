"""An edge of one's own, in a process of its own: caller and edge then share no event loop, and latency is honest."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from edge_client.caller.server_process import server_process

START_TIMEOUT_SEC = 60.0
KEPT_VARIABLE = "ANTIPHON_MODELS"
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})

READY = "Antiphon is ready at"  # the edge prints this and its address when it takes calls

_ADDRESS = re.compile(rf"{READY} (\S+)")


@dataclass(frozen=True, slots=True)
class EdgeProcess:
    """A running edge; ``started_at`` is the moment its process began, on the monotonic clock."""

    url: str
    started_at: float
    process: asyncio.subprocess.Process

    def memory(self) -> Memory | None:
        """What it takes now, or None where the system does not tell."""
        return _memory(Path(f"/proc/{self.process.pid}/status"))

    async def ended(self) -> None:
        """Return when it has ended by itself."""
        await self.process.wait()


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in bytes."""

    now: int
    peak: int


@asynccontextmanager
async def edge_process(
    *,
    port: int = 0,
    progress: Callable[[str], None] = lambda line: None,
    arguments: tuple[str, ...] = (),
    settings: Mapping[str, str] = NO_SETTINGS,
) -> AsyncIterator[EdgeProcess]:
    """Start an edge on loopback, wait until it takes calls, and stop it on leaving. Port 0 is any free one.

    ``settings`` are environment variables such as ``ANTIPHON_CLOUD__URL``; none of ours reach it.

    Raises:
        BackendUnavailable: it did not start; the message is what it said.
    """
    started_at = time.monotonic()
    command = (sys.executable, "-m", "edge_client.cli", "edge", "--host", "127.0.0.1", "--port", str(port), *arguments)
    async with server_process(
        command,
        name="the edge",
        ready=_ADDRESS,
        environment=_environment(os.environ) | dict(settings),
        start_timeout_sec=START_TIMEOUT_SEC,
        progress=progress,
    ) as server:
        yield EdgeProcess(server.url, started_at, server.process)


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The edge's own settings are left out: this one is for whoever sits at this machine."""
    return {
        name: value for name, value in environment.items() if not name.startswith("ANTIPHON_") or name == KEPT_VARIABLE
    }


def _memory(status: Path) -> Memory | None:
    try:
        lines = status.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    sizes = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    if "VmHWM" not in sizes:  # a process that has ended has no memory
        return None
    return Memory(now=_bytes(sizes["VmRSS"]), peak=_bytes(sizes["VmHWM"]))


def _bytes(size: list[str]) -> int:
    return int(size[0]) * 1024  # always in kB
