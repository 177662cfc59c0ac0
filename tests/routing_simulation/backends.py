"""A device, a cloud and the cloud's heartbeat that take as long as their world says, on the event loop's clock."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np

from routing.errors import AtCapacity, BackendUnavailable
from routing.outlook import Outlook
from routing.turns import (
    REPLY_SAMPLE_RATE,
    AudioChunk,
    Exchange,
    Heard,
    ReplyEnd,
    ReplyEvent,
    TextDelta,
    Turn,
)
from tests.routing_simulation.capacity import RETRY_AFTER_SEC
from tests.routing_simulation.world import CONNECT_TIMEOUT_SEC, Attempt, PlannedTurn, World

CHUNK_SEC = 0.5
HEARTBEAT_SEC = 2.0
HEARTBEAT_TIMEOUT_SEC = 1.5
LONGEST_BACK_OFF_SEC = 30.0
HEARD_SHARE = 0.4  # of the time to the first sound: then the words are known
SCRIPT_SEC = 0.08  # to the first sound of a text that is given
PACE = 3.0  # seconds of sound that are made in a second
CLAUSE = "so it was said, "  # about a second of speech, as every other chunk begins
_CHUNK = AudioChunk(np.zeros(int(CHUNK_SEC * REPLY_SAMPLE_RATE), np.float32), REPLY_SAMPLE_RATE)


class SimulatedBackend(ABC):
    """Answers turns as planned; a turn is known by its index."""

    name: str

    def __init__(self, world: World) -> None:
        self.world = world

    @asynccontextmanager
    async def open(self, turn: Turn, *, on_heard: Callable[[Heard], None]) -> AsyncIterator[Exchange]:
        yield SimulatedExchange(self, turn, self.world.turns[turn.index])

    @abstractmethod
    def answer(self, turn: PlannedTurn, attempt: Attempt) -> AsyncGenerator[ReplyEvent]: ...

    async def say(self, script: str) -> AsyncGenerator[ReplyEvent]:
        """Speak a text that somebody else began."""
        await asyncio.sleep(SCRIPT_SEC)
        yield TextDelta(script)
        for _ in range(int(len(script) / 15.0 / CHUNK_SEC) + 1):
            yield _CHUNK
            await asyncio.sleep(CHUNK_SEC / PACE)
        yield ReplyEnd()


class SimulatedExchange:
    """Replies one after the other, as the attempts of a turn come."""

    def __init__(self, backend: SimulatedBackend, turn: Turn, plan: PlannedTurn) -> None:
        self._backend = backend
        self._turn = turn
        self._plan = plan

    def feed(self, chunk: AudioChunk) -> None:
        """What is said is in the plan."""

    def reply(self) -> AsyncGenerator[ReplyEvent]:
        if self._turn.script is not None:
            return self._backend.say(self._turn.script)
        return self._backend.answer(self._plan, self._plan.attempt_at(_now()))

    def commit(self) -> None:
        """A simulated answer is the same, whether it counts or not."""


class SimulatedDevice(SimulatedBackend):
    """Needs no network, and knows the words before it says something."""

    name = "device"

    async def answer(self, turn: PlannedTurn, attempt: Attempt) -> AsyncGenerator[ReplyEvent]:
        asked_at = _now()
        await _until(asked_at + HEARD_SHARE * attempt.device_sec)
        yield Heard("what was said", is_final=True)
        await _until(asked_at + attempt.device_sec)
        for place in range(_chunks(turn)):
            for event in _chunk(place):
                yield event
            await asyncio.sleep(CHUNK_SEC / PACE)
        yield ReplyEnd()


class SimulatedCloud(SimulatedBackend):
    """Everything to and from it goes over the world's line, and nothing overtakes."""

    name = "cloud"

    async def answer(self, turn: PlannedTurn, attempt: Attempt) -> AsyncGenerator[ReplyEvent]:
        reached_at = self.world.cloud_reached_at(turn, attempt)
        if reached_at is None:
            await _until(turn.at + CONNECT_TIMEOUT_SEC)
            raise BackendUnavailable("not connected in time")
        first_at = self.world.cloud_first_sound_at(turn, attempt)
        if first_at is None:
            await _until(self.world.down(reached_at))
            raise AtCapacity("every slot is taken", retry_after_sec=RETRY_AFTER_SEC)
        async for event in self._told(turn, first_at):
            yield event

    async def _told(self, turn: PlannedTurn, first_at: float) -> AsyncGenerator[ReplyEvent]:
        arrival = first_at
        await _until(arrival)
        yield Heard("what was said", is_final=True)
        for place in range(_chunks(turn)):
            if place:
                arrival = max(arrival, self.world.down(first_at + place * CHUNK_SEC / PACE))
            await _until(arrival)
            for event in _chunk(place):
                yield event
        yield ReplyEnd()


def _chunks(turn: PlannedTurn) -> int:
    return int(turn.reply_sec / CHUNK_SEC) + 1


def _chunk(place: int) -> list[ReplyEvent]:
    """Words come a little before the sound that speaks them."""
    return [_CHUNK] if place % 2 else [TextDelta(CLAUSE), _CHUNK]


async def beat(world: World, outlook: Outlook) -> None:
    """The heartbeats of `edge_client.cloud`: after a silence another comes soon, then later and later."""
    first_back_off_sec = HEARTBEAT_SEC / 4
    back_off_sec = first_back_off_sec
    while True:
        sent_at = _now()
        outlook.note_heartbeat(sent_at)
        arrival = world.heartbeat(sent_at)
        if arrival - sent_at > HEARTBEAT_TIMEOUT_SEC:
            await _until(sent_at + HEARTBEAT_TIMEOUT_SEC)
            outlook.note_silence(_now())
            await asyncio.sleep(back_off_sec)
            back_off_sec = min(2 * back_off_sec, LONGEST_BACK_OFF_SEC)
        else:
            await _until(arrival)
            outlook.note_round_trip(arrival - sent_at, arrival)
            outlook.note_load(world.capacity.load(arrival), arrival)
            back_off_sec = first_back_off_sec
            await asyncio.sleep(HEARTBEAT_SEC)


async def _until(at: float) -> None:
    await asyncio.sleep(max(at - _now(), 0.0))


def _now() -> float:
    return asyncio.get_running_loop().time()
