"""Floods of every kind against a real edge, and what callers feel of them.

Quiet and flooded stretches alternate, so that whatever else the machine does falls on both. The flood runs at the
lowest priority and at a bounded rate: see `tests/flooding.py`.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import httpx
import pytest

from edge_client.audio import resample
from edge_client.caller.client import SESSION, Caller
from edge_client.caller.edge_process import EdgeProcess, edge_process
from edge_client.caller.microphone import MICROPHONE_RATE
from routing.errors import AtCapacity
from routing.turns import REPLY_SAMPLE_RATE, Samples
from tests.flooding import FLOODS
from tests.spoken import spoken

pytestmark = [pytest.mark.hostile, pytest.mark.calm, pytest.mark.models, pytest.mark.timeout(90)]

type Json = dict[str, Any]

KEY, FLOOD_KEY = "key-of-callers", "key-of-the-flood"
CALLERS = 3
TURNS = 2  # of each caller, in each stretch
STRETCHES = 2  # of each kind
WORST = 3.0  # times as long a caller may wait while the edge is flooded; on an idle machine it is within 1.3 (README)
# Of resident memory, over all floods: the most that was in use at a time, which an allocator keeps.
GROWTH_BYTES = 48 * 2**20
SETTLED_SEC = 30.0  # what half-open calls and kept sessions take to be given up

# Turns end by silence alone, so that every wait is of the same length.
SILENCE = {**SESSION, "audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 200}}}}

SETTINGS = {
    "ANTIPHON_API_KEYS": f"{KEY},{FLOOD_KEY}",
    "ANTIPHON_TELEMETRY__FILE": "",
    "ANTIPHON_LIMITS__HEAD_SEC": "2",
    "ANTIPHON_LIMITS__SESSIONS_PER_KEY": "8",
    "ANTIPHON_MAXIMUM_SESSIONS": "16",
    "ANTIPHON_PEER__RESUME_TIMEOUT_SEC": "1",
    "ANTIPHON_PEER__CONNECT_TIMEOUT_SEC": "5",
}


class Waits(NamedTuple):
    """From the end of what was said to the first sound of the answer, in ms."""

    quiet: list[float]
    flooded: list[float]

    @property
    def ratio(self) -> float:
        return statistics.median(self.flooded) / statistics.median(self.quiet)


class Flood:
    """A process that floods when it is told to."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.outcomes: Json = {}

    async def tell(self, word: str) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{word}\n".encode())
        self.outcomes = json.loads(await self._process.stdout.readline())


@asynccontextmanager
async def flooding(kind: str, edge: EdgeProcess) -> AsyncIterator[Flood]:
    command = (sys.executable, "-m", "tests.flooding", kind, edge.url, FLOOD_KEY)
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        flood = Flood(process)
        await flood.tell("stop")  # it has started when it answers
        yield flood
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def calling(edge: EdgeProcess) -> AsyncIterator[list[Caller]]:
    async with AsyncExitStack() as stack:
        connecting = (Caller.connect(edge.url, key=KEY, session=SILENCE, reporting=False) for _ in range(CALLERS))
        yield [await stack.enter_async_context(each) for each in connecting]


async def talk(callers: list[Caller], speech: Samples) -> list[float]:
    """All of them at once; every turn has to be answered."""
    waits = await asyncio.gather(*(take_turns(caller, speech) for caller in callers))
    return [wait for each in waits for wait in each]


async def take_turns(caller: Caller, speech: Samples) -> list[float]:
    waits = []
    for _ in range(TURNS):
        await caller.say(speech)
        latency = (await caller.reply()).latency
        assert latency.v2v_sec is not None, "a turn was not answered"
        waits.append(latency.v2v_sec * 1000)
    return waits


async def alternately(callers: list[Caller], flood: Flood, speech: Samples) -> Waits:
    waits = Waits([], [])
    for _ in range(STRETCHES):
        waits.quiet.extend(await talk(callers, speech))
        await flood.tell("go")
        waits.flooded.extend(await talk(callers, speech))
        await flood.tell("stop")
    return waits


async def process_of(edge: EdgeProcess) -> Json:
    """What the edge holds, by its own account."""
    async with httpx.AsyncClient(base_url=edge.url, verify=False) as client:
        answer = await client.get("/v1/statistics?sweep=true", headers={"Authorization": f"Bearer {KEY}"})
    figures: Json = answer.json()
    return {**figures["workers"][0]["process"], "sessions": figures["sessions"]}


async def rested(edge: EdgeProcess) -> Json:
    """What it holds without any session."""
    while (now := await process_of(edge))["sessions"]:
        await asyncio.sleep(0.2)
    return now


HELD = ("tasks", "peer_connections", "calls", "files", "sockets", "sessions")


async def settled(edge: EdgeProcess, base: Json) -> Json:
    """What it holds when the floods have gone, as soon as that is no more than before, or after a while."""
    deadline = asyncio.get_running_loop().time() + SETTLED_SEC
    now = await process_of(edge)
    while grown(now, base) and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.5)
        now = await process_of(edge)
    return now


def grown(now: Json, base: Json) -> dict[str, int]:
    return {name: now[name] - base[name] for name in HELD if now[name] > base[name]}


@pytest.fixture
async def speech() -> Samples:
    return await asyncio.to_thread(lambda: resample(spoken("Hello."), REPLY_SAMPLE_RATE, MICROPHONE_RATE))


@pytest.mark.parametrize("kind", FLOODS)
async def test_callers_do_not_notice_a_flood(kind: str, speech: Samples, capsys: pytest.CaptureFixture[str]) -> None:
    async with edge_process(arguments=("--engine", "tone"), settings=SETTINGS) as edge:
        async with calling(edge) as callers:  # whatever the first calls need stays
            await talk(callers, speech)
        base = await rested(edge)
        async with calling(edge) as callers, flooding(kind, edge) as flood:
            waits = await alternately(callers, flood, speech)
        after = await settled(edge, base)
    growth = after["resident_bytes"] - base["resident_bytes"]
    with capsys.disabled():
        print(  # noqa: T201 (figures to be read)
            f"\n{kind}: V2V median {statistics.median(waits.quiet):.0f} ms, flooded"
            f" {statistics.median(waits.flooded):.0f} ms, ratio {waits.ratio:.2f}; memory"
            f" {base['resident_bytes'] / 2**20:.0f} MiB {growth / 2**20:+.1f}; {flood.outcomes}"
        )
    assert grown(after, base) == {}
    assert growth < GROWTH_BYTES
    assert waits.ratio <= WORST


async def test_a_newcomer_finds_a_place_in_a_flood_of_offers(speech: Samples) -> None:
    settings = SETTINGS | {"ANTIPHON_MAXIMUM_SESSIONS": "6"}
    async with (
        edge_process(arguments=("--engine", "tone"), settings=settings) as edge,
        flooding("scattered offers", edge) as flood,
    ):
        await flood.tell("go")
        await asyncio.sleep(2)
        for _ in range(3):
            async with newcomer(edge) as caller:
                assert await take_turns(caller, speech)


@asynccontextmanager
async def newcomer(edge: EdgeProcess) -> AsyncIterator[Caller]:
    """Somebody who calls again when told that there is no place."""
    for _ in range(10):
        try:
            async with Caller.connect(edge.url, key=KEY, session=SILENCE, reporting=False) as caller:
                yield caller
                return
        except AtCapacity as full:
            await asyncio.sleep(full.retry_after_sec)
    raise AssertionError("there was no place for a caller")
