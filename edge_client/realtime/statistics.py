"""How an edge is doing, for whoever watches it: sessions, the loop's lag, what became of the sound, and who answered.

Counts are added up, over calls and over workers, and never go back while a worker lives: what a connection had counted
when it ended stays. Of times, the longest among the calls in progress is told.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

import httpx

from edge_client.loop_lag import LoopLagStatistics
from edge_client.process_figures import own_figures
from edge_client.realtime.session_config import Json
from edge_client.webrtc.peer import peer_connections
from edge_client.workers.crew import Crew
from routing.errors import BackendUnavailable

ANSWER_SEC = 2.0  # a worker that takes longer is told as one that does not answer
PATH = "/v1/statistics"

type Tree = Mapping[str, Any]


def added(one: Tree, other: Tree) -> Json:
    """Two trees of figures as one: whole numbers are added up, of others the larger one stays."""
    names = [*one, *(name for name in other if name not in one)]
    return {name: _both(one.get(name), other.get(name)) for name in names}


def _both(one: Any, other: Any) -> Any:
    match one, other:
        case None, either:
            return either
        case either, None:
            return either
        case Mapping(), Mapping():
            return added(one, other)
        case int(), int():
            return one + other
        case _:
            return max(one, other)


def counts(tree: Tree) -> Json:
    """The whole numbers of a tree."""
    parts = {name: counts(value) if isinstance(value, Mapping) else value for name, value in tree.items()}
    return {name: value for name, value in parts.items() if isinstance(value, int | dict)}


class MediaTotals:
    """What went over all connections of one worker."""

    def __init__(self) -> None:
        self._ended: Json = {"connections": 0}

    def ended(self, statistics: Any) -> None:
        """A connection is over; ``statistics`` is the dataclass with what it counted."""
        self._ended = added(self._ended, counts(_tree(statistics)))

    def with_running(self, running: Iterable[Any]) -> Json:
        return reduce(added, map(_tree, running), self._ended)


def _tree(statistics: Any) -> Json:
    return {"connections": 1, **dataclasses.asdict(statistics)}


async def process_statistics(*, calls: int, sweep: bool = False) -> Json:
    """What this process holds and takes, by which leaks are seen. Measured when somebody asks, and only then.

    Memory, processor time, threads, files and sockets are there where the system tells of them. ``peer_connections``
    are all that are in memory, also those that have ended: their parts know each other, and so are freed only when the
    garbage collector looks for such, after a few dozen of calls. Whoever wants to know what really stays lets it
    ``sweep`` first, which holds up the event loop for some tens of ms.
    """
    if sweep:
        gc.collect()
    held = {"tasks": len(asyncio.all_tasks()), "peer_connections": peer_connections(), "calls": calls}
    figures = await asyncio.to_thread(own_figures)
    if figures is None:
        return held
    told = dataclasses.asdict(figures)
    return {**held, "cpu_ms": round(told.pop("cpu_sec") * 1000), **told}


def worker_statistics(
    *,
    worker: int,
    sessions: int,
    places: int,
    lag: LoopLagStatistics,
    media: Json,
    routing: Json,
    process: Json | None = None,
) -> Json:
    """What one worker tells of itself."""
    return {
        "worker": worker,
        "sessions": sessions,
        "places": places,
        "process": process or {},
        "loop_lag_ms": _lag_ms(lag),
        "media": media,
        "routing": routing,
    }


def _lag_ms(lag: LoopLagStatistics) -> Json:
    figures = {"p50": lag.p50_sec, "p99": lag.p99_sec, "max": lag.worst_sec}
    return {name: round(seconds * 1000, 2) for name, seconds in figures.items()}


def edge_statistics(workers: list[Json], *, silent: Iterable[int] = ()) -> Json:
    """The whole edge from what its workers tell; of the lags the worst stays. ``silent`` ones did not answer."""
    whole = reduce(added, ({name: each[name] for name in each if name != "worker"} for each in workers))
    return {**whole, "workers": workers, "silent_workers": list(silent)}


async def ask_all(crew: Crew, own: Json, headers: Iterable[tuple[bytes, bytes]], *, sweep: bool = False) -> Json:
    """The whole edge. The others are asked with the caller's own ``headers``, and so let in like the caller."""
    answers = await ask_each(crew, f"{PATH}?sweep=true" if sweep else PATH, headers)
    told = {number: answer.json() for number, answer in answers.items()}
    silent = sorted(crew.siblings.numbers() - told.keys())
    return edge_statistics(sorted([own, *told.values()], key=lambda each: int(each["worker"])), silent=silent)


async def ask_each(crew: Crew, path: str, headers: Iterable[tuple[bytes, bytes]]) -> dict[int, httpx.Response]:
    """What the other workers answer, by their numbers; those that do not, or that refuse, are left out."""
    numbers, given = sorted(crew.siblings.numbers()), list(headers)
    answers = await asyncio.gather(*(_ask(crew, number, path, given) for number in numbers))
    return {number: answer for number, answer in zip(numbers, answers, strict=True) if answer is not None}


async def _ask(crew: Crew, worker: int, path: str, headers: list[tuple[bytes, bytes]]) -> httpx.Response | None:
    try:
        async with asyncio.timeout(ANSWER_SEC):
            answer = await crew.siblings.ask(worker, "GET", path.encode(), headers=headers)
    except (BackendUnavailable, TimeoutError):
        return None
    return answer if answer.status_code == 200 else None
