"""Every token and every code is the one that the released package's own generators give, whoever shares the batch."""

from __future__ import annotations

import asyncio
import random

import pytest

from deployments.engine.answer import Answer
from deployments.engine.engine import Engine
from deployments.engine.settings import EngineSettings
from tests.engine_parity import (
    Items,
    StockChat,
    Talk,
    clip,
    items_of,
    running,
    scheduling,
    settings_for,
    steps_of,
    told,
)
from tests.tiny_checkpoint import stock, tiny_checkpoint

pytestmark = pytest.mark.engine


async def answered(engine: Engine, talk: Talk, seed: int) -> Answer:
    """One spoken turn of a session, remembered as the edge would."""
    answer = engine.ask(talk.question(clip(seed, 0.4 + seed % 5 / 4)))
    talk.remember(f"speech {seed}", await told(answer))
    return answer


async def conversations(settings: EngineSettings, sessions: int, turns: int) -> dict[tuple[int, int], Items]:
    """Sessions that speak at the same time, each joining and leaving when it likes."""
    made: dict[tuple[int, int], Items] = {}
    async with running(settings) as engine:

        async def conversation(number: int) -> None:
            talk = Talk(f"session {number}")
            for turn in range(turns):
                await asyncio.sleep(random.Random(number * 10 + turn).random() / 20)
                made[number, turn] = items_of(await answered(engine, talk, number * turns + turn))

        async with asyncio.TaskGroup() as group:
            for number in range(sessions):
                group.create_task(conversation(number))
        assert engine.statistics().sessions.continued == sessions * (turns - 1)
    return made


@pytest.mark.parametrize(("seed", "runs"), [(0, (6, 12)), (1, (6, 9)), (2, (6, 12))])
def test_conversations_in_one_batch_are_what_each_would_be_alone_in_the_package(
    seed: int, runs: tuple[int, int]
) -> None:
    """Six sessions of three turns each, three at a time."""
    folder = tiny_checkpoint(seed=seed, text_run=runs[0], audio_run=runs[1])
    settings = settings_for(
        folder, maximum_reply_sec=2.2, slots=6, scheduler=scheduling(maximum_running=3, maximum_waiting=3)
    )
    made = asyncio.run(conversations(settings, sessions=6, turns=3))
    for number in range(6):
        chat = StockChat(stock(folder))
        for turn in range(3):
            speech = clip(number * 3 + turn, 0.4 + (number * 3 + turn) % 5 / 4)
            assert made[number, turn] == chat.ask(speech, limit=steps_of(settings, *runs))
