"""A cloud of one's own: Ray Serve on this machine, which starts while something else goes on."""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from edge_client.caller.server_process import server_process
from edge_client.network.relay import Address
from routing.errors import BackendUnavailable

READY = "Antiphon's cloud is ready at"
START_TIMEOUT_SEC = 180.0  # Ray has many processes to start, and a small machine takes its time
STOP_TIMEOUT_SEC = 40.0  # and to end
ASK_SEC = 5.0
NICENESS = 5  # 0 takes most, 19 least
ROOT = Path(__file__).parents[2]  # where the Serve applications are, and `configs`

_ADDRESS = re.compile(rf"{READY} (\S+)")
_STEP = re.compile(r"[a-z][\w ,]*")  # what it says of itself; Ray's own lines begin with a date


def local_command(port: int, *, traces: Path) -> tuple[str, ...]:
    """How the cloud is started here: it must not take the processors from an edge that answers meanwhile."""
    courtesy = ("nice", "-n", str(NICENESS)) if shutil.which("nice") else ()
    program = (sys.executable, "-m", "deployments.local", "--port", str(port), "--traces", str(traces))
    return (*courtesy, *program)


def check_for_ray() -> None:
    """Raises BackendUnavailable, with what to do, where the cloud cannot be started here."""
    if find_spec("ray") is None or find_spec("deployments") is None:
        raise BackendUnavailable(
            "the cloud of the demonstration needs Ray Serve, which is not installed: `make demo` installs it, and so"
            " does `uv pip sync requirements-serve.txt`. Without a cloud: antiphon demo --no-cloud"
        )


@dataclass(frozen=True, slots=True)
class Cloud:
    """A cloud that takes turns."""

    url: str

    @property
    def address(self) -> Address:
        parts = urlsplit(self.url)
        return Address(str(parts.hostname), parts.port or 0)

    async def replicas(self) -> list[int]:
        """The processes that answer turns.

        Raises:
            BackendUnavailable: it does not tell.
        """
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=ASK_SEC) as client:
                answer = await client.get(f"http://{self.address}/v1/replicas")
                return [int(replica["pid"]) for replica in answer.raise_for_status().json()]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise BackendUnavailable(f"the cloud does not tell its processes: {error}") from error


def kill(pids: Sequence[int]) -> None:
    """End the processes at once, without a chance to say anything."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has ended by itself


type Command = Callable[[int], Sequence[str]]
type Coming = asyncio.Future[Cloud]


@asynccontextmanager
async def cloud_starting(progress: Callable[[str], None], *, command: Command) -> AsyncIterator[Coming]:
    """Start a cloud on a free port and go on at once; awaiting what comes gives the cloud, or says why there is none.

    It is stopped, ready or not, when the block ends. ``progress`` hears of each step.

    Raises (where it is awaited):
        BackendUnavailable: it did not start.
    """
    coming: Coming = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(_run(command(free_port()), coming, progress))
    try:
        yield coming
    finally:
        running.cancel()
        await asyncio.wait([running])
        if not coming.cancel():
            coming.exception()  # was told, or is of no interest any more


async def _run(command: Sequence[str], coming: Coming, progress: Callable[[str], None]) -> None:
    def step(line: str) -> None:
        if _STEP.fullmatch(line):
            progress(line)

    try:
        async with server_process(
            command,
            name="the cloud",
            ready=_ADDRESS,
            environment=os.environ,
            start_timeout_sec=START_TIMEOUT_SEC,
            stop_timeout_sec=STOP_TIMEOUT_SEC,
            folder=ROOT,
            progress=step,
        ) as server:
            coming.set_result(Cloud(server.url))
            await asyncio.Event().wait()
    except BackendUnavailable as fault:
        coming.set_exception(fault)


def free_port() -> int:
    """One that nobody uses now, nor takes by chance before the cloud does: below those that systems give away."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
