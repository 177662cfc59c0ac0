"""What one session costs the edge's media path, and whether all of them are served in time; stock aiortc beside it.

Run ``python -m tests.bench_sessions`` on an idle machine; it takes about two minutes. One server process takes N calls
over WebRTC on loopback: it decodes fifty packets a second of each to 16 kHz and sends each fifty. Caller processes,
which neither encode nor decode, are at the other end. The processor time is the server's alone. Kinds of replies:

own           every session hears something else, all the time
shared        all sessions hear the same, with short pauses: it is encoded once
conversation  every session hears something else, 40 % of the time, as one does who talks with somebody
stock         as "own", on aiortc as it comes

Kinds alternate, so that all see the same machine. Lag is how late the server's event loop comes to what is due. Late
are packets more than 40 ms behind their timestamp at the caller, missing are those that never came.

Where other programs run too, they are what lag and lateness show. Root can keep them out:
``chrt -r 5 python -m tests.bench_sessions``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.sessions_callers import CallersReport
from tests.sessions_server import ServerReport

KINDS = ("own", "shared", "conversation", "stock")
SETTLING_SEC = 2.0  # after the last call was connected
HANG_UP_SEC = 10.0


@dataclass(frozen=True, slots=True)
class Result:
    """One run of one kind."""

    server: ServerReport
    callers: tuple[CallersReport, ...]

    @property
    def cores(self) -> float:
        """How much of a core the server used."""
        return self.server.cpu_sec / self.server.wall_sec

    @property
    def caller_cores(self) -> float:
        return sum(callers.cpu_sec for callers in self.callers) / self.server.wall_sec

    @property
    def sessions(self) -> int:
        return sum(callers.sessions for callers in self.callers)

    @property
    def percent_of_core(self) -> float:
        """For each session."""
        return 100 * self.cores / self.sessions


class Helper:
    """A process that is spoken to in lines."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("expected a report, and the process has ended; see its errors above")
        message: dict[str, Any] = json.loads(line)
        return message

    def signal(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")


@asynccontextmanager
async def helper(module: str, *arguments: object) -> AsyncIterator[Helper]:
    command = (sys.executable, "-m", f"tests.{module}", *map(str, arguments))
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    try:
        yield Helper(process)
        async with asyncio.timeout(HANG_UP_SEC):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def measure(kind: str, options: argparse.Namespace) -> Result:
    engine, mode = ("stock", "own") if kind == "stock" else ("tuned", kind)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(helper("sessions_server", engine, mode))
        port = (await server.hear())["port"]
        callers = []
        for count in shares(options.sessions, options.callers):
            callers.append(await stack.enter_async_context(helper("sessions_callers", port, count)))
            await callers[-1].hear()
        await asyncio.sleep(SETTLING_SEC)
        everyone = [server, *callers]
        for one in everyone:
            one.signal()
        await asyncio.sleep(options.seconds)
        for one in reversed(everyone):
            one.signal()
        heard = [CallersReport(**await caller.hear()) for caller in callers]
        return Result(ServerReport(**await server.hear()), tuple(heard))


def shares(total: int, parts: int) -> list[int]:
    return [total // parts + (index < total % parts) for index in range(parts)]


# -- telling ---------------------------------------------------------------------------------------------------------


COLUMNS = (
    *("replies", "% of a core\na session", "all", "lag p50\nms", "p99\nms", "worst\nms"),
    *("late", "missing", "worst\nms", "encoded\nof sent", "threads", "callers'\ncores"),
)


def show(results: dict[str, list[Result]], console: Console) -> None:
    table = Table(*COLUMNS)
    for kind, runs in results.items():
        table.add_row(kind, *row(runs))
    console.print(table)
    for line in ratios(results):
        console.print(line)
    if any(run.cores + run.caller_cores > 0.85 * (os.cpu_count() or 1) for runs in results.values() for run in runs):
        console.print("The callers and the server together needed nearly all cores: lag and lateness are theirs too.")


def row(runs: Sequence[Result]) -> list[str]:
    servers = [run.server for run in runs]
    sent = sum(caller.received for run in runs for caller in run.callers) or 1
    return [
        f"{median(run.percent_of_core for run in runs):.2f}",
        f"{median(100 * run.cores for run in runs):.0f}",
        *(f"{median(getattr(server, name) for server in servers):.1f}" for name in LAGS),
        *(f"{sum(getattr(caller, name) for run in runs for caller in run.callers)}" for name in ("late", "missing")),
        f"{max(caller.worst_late_ms for run in runs for caller in run.callers):.0f}",
        f"{100 * sum(server.encoded for server in servers) / sent:.0f} %",
        f"{max(server.threads for server in servers)}",
        f"{median(run.caller_cores for run in runs):.2f}",
    ]


LAGS = ("lag_p50_ms", "lag_p99_ms", "lag_worst_ms")


def ratios(results: dict[str, list[Result]]) -> list[str]:
    if "stock" not in results:
        return []
    stock = results["stock"]
    return [
        f"{kind}: {median(a.cores / b.cores for a, b in zip(runs, stock, strict=True)):.2f} of stock's processor time"
        for kind, runs in results.items()
        if kind != "stock"
    ]


def median(values: Any) -> float:
    return float(statistics.median(values))


async def main(options: argparse.Namespace) -> None:
    console, results = Console(width=120), dict[str, list[Result]]()
    console.print(f"{options.sessions} sessions, {options.seconds:g} s each, {options.rounds} rounds")
    for _ in range(options.rounds):
        for kind in options.kinds:
            results.setdefault(kind, []).append(await measure(kind, options))
    show(results, console)
    console.print(f"{os.cpu_count()} cores, load average over the last minute {os.getloadavg()[0]:.1f}")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=30, help="calls at once (default 30)")
    parser.add_argument("--seconds", type=float, default=10.0, help="measured in each run (default 10)")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each kind, alternating (default 2)")
    parser.add_argument("--callers", type=int, default=2, help="caller processes (default 2)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="what to run (default all)")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(parsed()))
