"""How long a new caller waits for the first sound while others are speaking, and whether those hear a gap."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace

from rich.table import Table

from deployments.engine.bench.caller import Listener, ask, ask_until_taken, listen
from deployments.engine.bench.material import speech
from deployments.engine.bench.quantiles import Quantiles, quantiles
from deployments.engine.engine import Engine
from deployments.engine.scheduler import SchedulerStatistics
from routing.errors import AtCapacity
from routing.turns import Samples

ENDLESS = 1 << 30  # frames
NEWCOMER_FRAMES = 12  # after about a second a newcomer hangs up
SETTLING_SEC = 1.0  # after everybody who is spoken to hears something
PATIENCE_SEC = 15.0  # without another caller who is spoken to: then the engine has no room for more
PAUSE_SEC = 0.1  # between two turns of the idle engine

numbers = itertools.count()  # so that every caller is a new one


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Who calls: so many who are spoken to all the time, and newcomers at random moments."""

    speaking: int
    newcomers: int
    mean_gap_sec: float  # between two newcomers
    idle_turns: int  # to compare with, before anybody else is there
    speech_sec: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What it was like. Times are None where everybody was refused."""

    speaking: int  # to whom the engine could speak at the same time: fewer than called, where it has no room
    newcomers: int
    refused: int  # of the newcomers: the engine said at once that it is full
    reason: str  # what it said to the last of them
    idle_first_audio_ms: Quantiles | None
    loaded_first_audio_ms: Quantiles | None
    gaps: int  # heard by those who were spoken to all the time
    longest_gap_ms: float
    mean_batch: float
    engine_underruns: int  # as the engine counts them

    @property
    def ratio(self) -> float | None:
        """Of the p95 under load to that of the idle engine."""
        idle, loaded = self.idle_first_audio_ms, self.loaded_first_audio_ms
        return loaded.p95 / idle.p95 if idle and loaded else None

    def as_json(self) -> dict[str, object]:
        waits = {"idle_first_audio_ms": self.idle_first_audio_ms, "loaded_first_audio_ms": self.loaded_first_audio_ms}
        named = {name: value and value._asdict() for name, value in waits.items()}
        return asdict(self) | named | {"ratio": self.ratio}


@dataclass(slots=True)
class _Waits:
    """How long callers waited for their first sound."""

    seconds: list[float] = field(default_factory=list)
    refused: int = 0
    reason: str = ""  # of the latest refusal

    def quantiles_ms(self) -> Quantiles | None:
        return quantiles(1000 * value for value in self.seconds) if self.seconds else None


async def measure_load(engine: Engine, crowd: Crowd, advance: Callable[[], None]) -> LoadReport:
    """Let the crowd call ``engine``, which is entered and closed here. ``advance`` is told of each measured turn."""
    said = speech(crowd.speech_sec)
    idle, loaded = _Waits(), _Waits()
    heard: list[Listener] = []
    begun = asyncio.Semaphore(0)
    async with engine:
        for _ in range(crowd.idle_turns):
            await _call(engine, said, idle)
            advance()
            await asyncio.sleep(PAUSE_SEC)
        async with asyncio.TaskGroup() as group:
            names = [f"speaker {number}" for number in range(crowd.speaking)]
            speakers = [group.create_task(_converse(engine, name, said, heard, begun)) for name in names]
            speaking = await _all_begun(begun, len(names))
            await asyncio.sleep(SETTLING_SEC)
            await _newcomers(engine, said, crowd, loaded, advance)
            statistics = engine.statistics().scheduler
            for speaker in speakers:
                speaker.cancel()
    return _report(replace(crowd, speaking=speaking), idle, loaded, heard, statistics)


async def _all_begun(begun: asyncio.Semaphore, callers: int) -> int:
    """How many are spoken to: all who call, unless the engine has no room for more of them."""
    for spoken_to in range(callers):
        try:
            await asyncio.wait_for(begun.acquire(), PATIENCE_SEC)
        except TimeoutError:
            return spoken_to
    return callers


async def _call(engine: Engine, said: Samples, waits: _Waits) -> None:
    """One turn of somebody who was never there before."""
    listener = Listener(time.perf_counter())
    try:
        await listen(ask(engine, f"newcomer {next(numbers)}", said), listener, frames=NEWCOMER_FRAMES)
    except AtCapacity as error:
        waits.refused += 1
        waits.reason = str(error)
    else:
        waits.seconds.append(listener.first_audio_sec)


async def _converse(engine: Engine, name: str, said: Samples, heard: list[Listener], begun: asyncio.Semaphore) -> None:
    """Be spoken to all the time: when a reply has ended, ask again. ``begun`` is released at each first sound."""
    while True:
        answer = await ask_until_taken(engine, f"{name}, {next(numbers)}", said)
        heard.append(Listener(time.perf_counter(), begun.release))
        await listen(answer, heard[-1], frames=ENDLESS)


async def _newcomers(engine: Engine, said: Samples, crowd: Crowd, waits: _Waits, advance: Callable[[], None]) -> None:
    chance = random.Random(0)

    async def come() -> None:
        await _call(engine, said, waits)
        advance()

    async with asyncio.TaskGroup() as group:
        for _ in range(crowd.newcomers):
            await asyncio.sleep(chance.expovariate(1 / crowd.mean_gap_sec))
            group.create_task(come())


def _report(
    crowd: Crowd, idle: _Waits, loaded: _Waits, heard: Sequence[Listener], statistics: SchedulerStatistics
) -> LoadReport:
    gaps_sec = [gap for listener in heard for gap in listener.gaps_sec]
    return LoadReport(
        speaking=crowd.speaking,
        newcomers=crowd.newcomers,
        refused=loaded.refused,
        reason=loaded.reason,
        idle_first_audio_ms=idle.quantiles_ms(),
        loaded_first_audio_ms=loaded.quantiles_ms(),
        gaps=len(gaps_sec),
        longest_gap_ms=1000 * max(gaps_sec, default=0.0),
        mean_batch=statistics.mean_batch,
        engine_underruns=statistics.underruns,
    )


def load_table(report: LoadReport) -> Table:
    table = Table(title="first sound, ms", title_justify="left")
    for heading in ("engine", "p50", "p95", "p99"):
        table.add_column(heading, justify="right", min_width=8)
    for name, waits in (("idle", report.idle_first_audio_ms), ("loaded", report.loaded_first_audio_ms)):
        table.add_row(name, *(f"{value:.1f}" for value in waits or ()))
    return table


def load_lines(report: LoadReport) -> Iterator[str]:
    if report.ratio is not None:
        yield f"loaded beside idle, at p95: {report.ratio:.2f} ×"
    yield f"newcomers: {report.newcomers}, of whom refused: {report.refused}; rows per step: {report.mean_batch:.1f}"
    if report.refused:
        yield f"the last one was refused because {report.reason}"
    yield f"{report.speaking} were spoken to meanwhile: {report.gaps} gaps, the longest {report.longest_gap_ms:.0f} ms"
