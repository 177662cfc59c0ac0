"""What telemetry costs an edge, and what becomes of its sound when a collector misbehaves.

Run ``python -m tests.bench_telemetry`` on an idle machine; it needs the model files and takes about ten minutes. An
edge that answers with tones, so that models do not hide anything, is called by several callers at once who ask turn
after turn. Ways of telemetry alternate, each in a process of its own:

off         nothing is noted
file        as it comes: traces are written to a file, metrics are counted
collector   both are sent to a collector too, which takes them
refusing    there is no collector where one is said to be
black hole  there is one that takes the connection and never answers

The processor time is the edge's alone, per session and second. Lag is how late its event loop, which keeps the pace of
all sound, came to what was due. Starved is silence in the middle of replies. Leaving is from the signal to the end of
the process.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from edge_client import event_loop
from edge_client.caller.command import read_questions
from edge_client.caller.dialect import OPENAI
from edge_client.caller.edge_process import EdgeProcess, edge_process
from edge_client.caller.probe import Probe, ProbePlan
from edge_client.caller.question import Question
from edge_client.caller.report import conditions
from tests.otlp_sink import black_hole, nobody_listens, otlp_sink

WAYS = ("off", "file", "collector", "refusing", "black hole")
QUESTIONS = ("What time is it?", "What is twelve times seven?")


@dataclass(frozen=True, slots=True)
class Run:
    """One edge under one way of telemetry."""

    percent_of_core: float  # per session
    lag_p99_ms: float
    lag_max_ms: float
    starved_ms: float  # callers heard silence in the middle of replies
    v2v_ms: float
    missed: int
    leaving_sec: float


@asynccontextmanager
async def told(way: str) -> AsyncIterator[Mapping[str, str]]:
    """The edge's settings for one way, with whatever must be at the other end."""
    prefix = "ANTIPHON_TELEMETRY__"
    match way:
        case "off":
            yield {f"{prefix}ENABLED": "false"}
        case "file":
            yield {}
        case "collector":
            async with otlp_sink() as sink:
                yield {f"{prefix}ENDPOINT": sink.url}
        case "refusing":
            with nobody_listens() as url:
                yield {f"{prefix}ENDPOINT": url}
        case _:
            with black_hole() as url:
                yield {f"{prefix}ENDPOINT": url}


@asynccontextmanager
async def told_here(way: str) -> AsyncIterator[Mapping[str, str]]:
    """The same, with the file of traces in a folder that goes away."""
    with tempfile.TemporaryDirectory() as folder:
        async with told_here(way) as settings:
            yield {**settings, "XDG_STATE_HOME": folder}


async def measure(way: str, questions: Sequence[Question], *, calls: int, turns: int, seed: int) -> Run:
    async with told(way) as settings:
        async with edge_process(arguments=("--engine", "tone"), settings=settings) as edge:
            plan = ProbePlan(url=edge.url, dialect=OPENAI, calls=calls, at_once=calls, turns=turns, seed=seed)
            probe = Probe(plan, questions, tell=lambda line: None)
            began_at, cpu_sec = time.perf_counter(), _cpu_sec(edge)
            await probe.run()
            cpu_sec, took_sec = _cpu_sec(edge) - cpu_sec, time.perf_counter() - began_at
            figures = await _statistics(edge)
            leaves_at = time.perf_counter()
        leaving_sec = time.perf_counter() - leaves_at
    asked = probe.report(conditions()).turns
    return Run(
        percent_of_core=100 * cpu_sec / took_sec / calls,
        lag_p99_ms=figures["loop_lag_ms"]["p99"],
        lag_max_ms=figures["loop_lag_ms"]["max"],
        starved_ms=sum(turn.starved_ms for turn in asked),
        v2v_ms=statistics.median(turn.v2v_ms for turn in asked if turn.v2v_ms is not None),
        missed=sum(turn.missed for turn in asked),
        leaving_sec=leaving_sec,
    )


def _turned(ways: tuple[str, ...], *, by: int) -> tuple[str, ...]:
    """Nobody is always first, on the coldest machine."""
    first = by % len(ways)
    return ways[first:] + ways[:first]


async def _statistics(edge: EdgeProcess) -> dict[str, Any]:
    async with httpx.AsyncClient() as client:
        found: dict[str, Any] = (await client.get(f"{edge.url}/v1/statistics")).json()
    return found


def _cpu_sec(edge: EdgeProcess) -> float:
    """Of all threads, in user and system mode."""
    fields = Path(f"/proc/{edge.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def compare(
    ways: tuple[str, ...], *, rounds: int, calls: int, turns: int, console: Console
) -> dict[str, list[Run]]:
    questions = await asyncio.to_thread(read_questions, (), QUESTIONS)
    runs: dict[str, list[Run]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in _turned(ways, by=number):
            runs[way].append(await measure(way, questions, calls=calls, turns=turns, seed=number))
            console.print(f"[dim]{number + 1}/{rounds} {way}: {runs[way][-1]}[/]")
    return runs


def table(runs: Mapping[str, Sequence[Run]]) -> Table:
    shown = Table(
        "telemetry", "% of a core per session", "÷ off", "lag p99 ms", "max", "starved ms", "V2V ms", "missed"
    )
    shown.add_column("leaving s")
    for way, each in runs.items():
        shown.add_row(way, *_figures(each, runs["off"]))
    return shown


def _figures(runs: Sequence[Run], off: Sequence[Run]) -> list[str]:
    shares = [run.percent_of_core for run in runs]
    ratios = [run.percent_of_core / without.percent_of_core for run, without in zip(runs, off, strict=True)]
    return [
        f"{statistics.median(shares):.2f} ({min(shares):.2f}-{max(shares):.2f})",
        f"{statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})",
        f"{statistics.median(run.lag_p99_ms for run in runs):.1f}",
        f"{max(run.lag_max_ms for run in runs):.1f}",
        f"{sum(run.starved_ms for run in runs):.0f}",
        f"{statistics.median(run.v2v_ms for run in runs):.0f}",
        str(sum(run.missed for run in runs)),
        f"{max(run.leaving_sec for run in runs):.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4, help="how often each way is measured (default: 4)")
    parser.add_argument("--calls", type=int, default=6, help="callers at the same time (default: 6)")
    parser.add_argument("--turns", type=int, default=5, help="that each of them asks (default: 5)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="which to compare; off is always one")
    arguments = parser.parse_args()
    beside, console = conditions(), Console(width=150)
    ways: tuple[str, ...] = ("off", *(way for way in arguments.ways if way != "off"))
    comparing = compare(ways, rounds=arguments.rounds, calls=arguments.calls, turns=arguments.turns, console=console)
    runs = event_loop.run(comparing)
    console.print(table(runs), f"{beside} at the start")


if __name__ == "__main__":
    main()
