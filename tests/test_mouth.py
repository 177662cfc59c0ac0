"""How a reply leaves: pulled by a sender, or played by the caller."""

from __future__ import annotations

import asyncio

import pytest

from edge_client.mouth import PacedMouth, RemoteMouth
from tests.scripted import tone
from tests.virtual_time import on_virtual_time


async def always() -> None:
    """There is room."""


@on_virtual_time
async def test_a_paced_mouth_tells_when_its_first_audio_leaves_and_when_all_has() -> None:
    mouth = PacedMouth()
    left: list[float] = []
    loop = asyncio.get_running_loop()

    async def send() -> None:
        while True:
            mouth.read(480)
            await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(send())
        await asyncio.sleep(1)
        mouth.begin(lambda: left.append(loop.time()))
        mouth.say(tone(0.5))
        mouth.finish()
        await mouth.silent()
        sending.cancel()
    assert left == [pytest.approx(1, abs=0.021)]
    assert loop.time() == pytest.approx(1.5, abs=0.041)
    assert mouth.heard == 12_000


@on_virtual_time
async def test_a_full_mouth_makes_the_writer_wait() -> None:
    mouth = PacedMouth(capacity_sec=0.5)
    mouth.begin(lambda: None)
    mouth.say(tone(0.6))
    waiting = asyncio.create_task(mouth.room())
    await asyncio.sleep(1)
    assert not waiting.done()
    mouth.read(4800)
    await waiting


@on_virtual_time
async def test_a_remote_mouth_believes_that_the_caller_plays_from_the_first_sample() -> None:
    mouth = RemoteMouth(always)
    mouth.begin(lambda: None)
    mouth.say(tone(2))
    await asyncio.sleep(0.5)
    assert mouth.heard == 12_000
    await mouth.silent()
    assert asyncio.get_running_loop().time() == pytest.approx(2)


@on_virtual_time
async def test_a_remote_mouth_that_is_cut_is_silent_at_once() -> None:
    mouth = RemoteMouth(always)
    mouth.begin(lambda: None)
    mouth.say(tone(2))
    waiting = asyncio.create_task(mouth.silent())
    await asyncio.sleep(0.5)
    mouth.flush()
    await waiting
    assert asyncio.get_running_loop().time() == pytest.approx(0.5)
    assert mouth.heard == 12_000
