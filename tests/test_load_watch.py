"""How full the cloud is, asked no more often than somebody wants to know."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from deployments.load_watch import NOBODY, LoadWatch, together
from routing.errors import BackendUnavailable
from routing.load import Load
from tests.virtual_time import on_virtual_time

ONE, TWO = Load(slots=4, in_use=1), Load(slots=4, in_use=2)


@dataclass(slots=True)
class Replicas:
    """Each look takes a tenth of a second."""

    loads: list[Load] = field(default_factory=lambda: [ONE])
    looks: int = 0
    answer: bool = True

    async def ask(self) -> Sequence[Load]:
        self.looks += 1
        await asyncio.sleep(0.1)
        if not self.answer:
            raise BackendUnavailable("the replicas do not answer")
        return list(self.loads)


@on_virtual_time
async def test_all_who_want_to_know_at_once_wait_for_one_look() -> None:
    replicas = Replicas()
    watch = LoadWatch(replicas.ask, every_sec=1.0)
    assert await asyncio.gather(*(watch.now() for _ in range(50))) == [ONE] * 50
    assert replicas.looks == 1


@on_virtual_time
async def test_later_everybody_is_answered_at_once_with_what_was_seen_last() -> None:
    replicas = Replicas()
    watch = LoadWatch(replicas.ask, every_sec=1.0)
    await watch.now()
    replicas.loads = [TWO]
    await asyncio.sleep(1.0)
    before = asyncio.get_running_loop().time()
    assert await watch.now() == ONE
    assert asyncio.get_running_loop().time() == before
    await asyncio.sleep(0.2)
    assert (await watch.now(), replicas.looks) == (TWO, 2)


@on_virtual_time
async def test_one_who_leaves_while_waiting_takes_nothing_from_the_others() -> None:
    watch = LoadWatch(Replicas().ask, every_sec=1.0)
    leaving, staying = asyncio.create_task(watch.now()), asyncio.create_task(watch.now())
    await asyncio.sleep(0.05)
    leaving.cancel()
    assert await staying == ONE


@on_virtual_time
async def test_what_is_very_old_counts_for_nothing() -> None:
    replicas = Replicas()
    watch = LoadWatch(replicas.ask, every_sec=1.0)
    await watch.now()
    replicas.loads = [TWO]
    await asyncio.sleep(60)
    assert await watch.now() == TWO


@on_virtual_time
async def test_a_look_that_fails_changes_nothing_for_a_while() -> None:
    replicas = Replicas()
    watch = LoadWatch(replicas.ask, every_sec=1.0)
    await watch.now()
    replicas.answer = False
    seen = []
    for _ in range(12):
        await asyncio.sleep(1.0)
        seen.append(await watch.now())
    assert (seen[0], seen[8], seen[-1]) == (ONE, ONE, NOBODY)


def test_several_replicas_are_told_as_one() -> None:
    loads = [
        Load(slots=4, in_use=4, waiting=2, queue_wait_sec=1.5, first_audio_p95_sec=0.9),
        Load(slots=4, in_use=1, queue_wait_sec=0.0, first_audio_p95_sec=0.2),
        Load(slots=2, in_use=0),
    ]
    assert together(loads) == Load(slots=10, in_use=5, waiting=2, queue_wait_sec=0.0, first_audio_p95_sec=0.9)
    assert together([]) is NOBODY
