"""Replicas come and go with the load, on a real Ray of this machine: nobody is sent away, and no reply is cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise

import numpy as np
import pytest

from edge_client.cloud.backend import CloudBackend
from edge_client.cloud.settings import CloudSettings
from routing.errors import BackendError
from routing.turns import SPEECH_SAMPLE_RATE, AudioChunk, ReplyEnd, ReplyEvent, Turn
from tests.cloud import HURRIED, PATIENT, Cloud, local_cloud

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(280)]

SLOTS = 16
ITEMS, ITEM_SEC = 20, 0.1
AUTOSCALING = {**HURRIED, "turn_sec": ITEMS * ITEM_SEC, "look_back_sec": 6.0}
SPEECH = AudioChunk(np.zeros(SPEECH_SAMPLE_RATE // 10, np.float32), SPEECH_SAMPLE_RATE)
WATCH_SEC = 0.3


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with local_cloud(
        {"autoscaling": AUTOSCALING, "ingress": PATIENT}, slots=SLOTS, items=ITEMS, item_sec=ITEM_SEC
    ) as cloud:
        yield cloud


class Crowd:
    """Callers who ask again as soon as they are answered, each in a session of its own."""

    def __init__(self, cloud: Cloud, tasks: asyncio.TaskGroup) -> None:
        self._backend = CloudBackend(CloudSettings(url=cloud.url, connect_timeout_sec=30.0))
        self._tasks = tasks
        self._wanted: set[int] = set()
        self._talking: set[int] = set()
        self.places: dict[str, str] = {}  # the replica of each session's last turn
        self.answered = 0
        self.faults: list[str] = []

    def be(self, numbers: Iterable[int]) -> None:
        """These callers and nobody else; the others hear their answer to the end."""
        self._wanted = set(numbers)
        for number in self._wanted - self._talking:
            self._talking.add(number)
            self._tasks.create_task(self._talk(number))

    def one_for_each_replica(self) -> set[int]:
        """Callers whose sessions are remembered at different replicas."""
        return set({place: int(session) for session, place in self.places.items()}.values())

    async def _talk(self, number: int) -> None:
        index = 0
        while number in self._wanted:
            await self._ask(Turn(session_id=str(number), turn_id=f"turn_{number}_{index}", index=index))
            index += 1
        self._talking.remove(number)

    async def _ask(self, turn: Turn) -> None:
        try:
            events = await self._answer(turn)
        except BackendError as error:
            self.faults.append(f"{turn.turn_id}: {error!r}")
            return
        heard_sec = sum(event.duration_sec for event in events if isinstance(event, AudioChunk))
        if not isinstance(events[-1], ReplyEnd) or heard_sec < ITEMS * ITEM_SEC * 0.99:
            self.faults.append(f"{turn.turn_id}: heard {heard_sec:.1f} s, and then {events[-1]}")
        self.answered += 1

    async def _answer(self, turn: Turn) -> list[ReplyEvent]:
        async with self._backend.open(turn, on_heard=lambda heard: None) as exchange:
            exchange.feed(SPEECH)
            exchange.commit()
            async with aclosing(exchange.reply()) as events:
                told = [event async for event in events]
            assert exchange.replica is not None
            self.places[turn.session_id] = exchange.replica
            return told


class Watch:
    """How many replicas there were, look by look."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self._looked = asyncio.Condition()

    async def look(self, cloud: Cloud) -> None:
        while True:
            replicas = await asyncio.to_thread(cloud.replicas)
            if replicas:  # else one of them did not answer in time, and it is not known how many there are
                async with self._looked:
                    self.counts.append(len(replicas))
                    self._looked.notify_all()
            await asyncio.sleep(WATCH_SEC)

    async def until(self, least: int = 0, most: int = 100) -> None:
        """Wait for such a count."""
        async with self._looked:
            await self._looked.wait_for(lambda: bool(self.counts) and least <= self.counts[-1] <= most)


@asynccontextmanager
async def crowd_before(cloud: Cloud) -> AsyncIterator[tuple[Crowd, Watch]]:
    """Callers, and somebody who counts the replicas meanwhile. In the end all callers have heard their answers."""
    watch = Watch()
    async with asyncio.TaskGroup() as watching:
        looking = watching.create_task(watch.look(cloud))
        async with asyncio.TaskGroup() as tasks:
            crowd = Crowd(cloud, tasks)
            yield crowd, watch
            crowd.be([])
        looking.cancel()


async def test_replicas_follow_the_load_and_no_turn_is_refused_or_cut(cloud: Cloud) -> None:
    async with crowd_before(cloud) as (crowd, watch):
        for size, replicas in ((4, 1), (12, 2), (24, 3)):  # always within the slots that are there already
            crowd.be(range(size))
            await watch.until(least=replicas)
        risen = len(watch.counts)

        for size in 2 * [18, 12, 6, 24]:
            crowd.be(range(size))
            await asyncio.sleep(0.8)  # the shape of the load is made of time
        jagged = len(watch.counts)

        few = crowd.one_for_each_replica()
        crowd.be(few)
        await watch.until(most=1)
    assert crowd.faults == []
    assert len(few) == 3
    assert crowd.answered > 50
    assert all(before <= after for before, after in pairwise(watch.counts[:risen]))
    assert set(watch.counts[risen:jagged]) == {3}
    assert all(before >= after for before, after in pairwise(watch.counts[jagged:]))
