"""The engine behind the interface of a backend: chunks in, a held reply for each pause, one that counts."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from deployments.engine.backend import EngineBackend, EngineExchange
from deployments.engine.engine import Engine
from deployments.engine.loading import load_engine
from routing.errors import InvalidRequest
from routing.turns import AudioChunk, Message, ReplyEnd, Turn
from tests.engine_parity import clip, items_of, settings_for, sound_of
from tests.tiny_checkpoint import tiny_checkpoint

pytestmark = pytest.mark.engine


@functools.cache
def loaded() -> Engine:
    return load_engine(settings_for(tiny_checkpoint(seed=2), maximum_reply_sec=2.2))


@asynccontextmanager
async def exchange(name: str, **changes: object) -> AsyncIterator[EngineExchange]:
    turn = Turn(session_id=name, turn_id=f"{name} 1", index=1, **changes)  # type: ignore[arg-type]
    async with await asyncio.to_thread(loaded) as engine:
        async with EngineBackend(engine).open(turn, on_heard=lambda _: None) as opened:
            assert isinstance(opened, EngineExchange)
            yield opened
        assert engine.statistics().scheduler.running == 0 or opened._committed


def chunks(seed: int, seconds: float = 0.6) -> list[AudioChunk]:
    speech = clip(seed, seconds)
    return [AudioChunk(speech[start : start + 1280], 16_000) for start in range(0, len(speech), 1280)]


async def test_a_pause_asks_for_a_reply_that_the_next_one_takes_back() -> None:
    async with exchange("pauses") as turn:
        for chunk in chunks(0):
            turn.feed(chunk)
        early = turn.reply()
        await anext(early)
        await early.aclose()
        for chunk in chunks(1):
            turn.feed(chunk)
        finished_early = [event async for event in turn.reply()]
        reply = turn.reply()
        events = [await anext(reply)]
        turn.commit()
        events += [event async for event in reply]
        assert turn._answer is not None
        assert items_of(turn._answer)
    assert isinstance(events[-1], ReplyEnd)
    assert len(sound_of(events)) > 0
    assert np.array_equal(sound_of(events), sound_of(finished_early))
    async with exchange("without pauses") as turn:
        for chunk in chunks(0) + chunks(1):
            turn.feed(chunk)
        turn.commit()
        straight = [event async for event in turn.reply()]
    assert np.allclose(sound_of(straight), sound_of(events), atol=1e-5)


async def test_a_reply_that_was_made_but_not_read_to_its_end_is_taken_back() -> None:
    async with exchange("not read") as turn:
        for chunk in chunks(0):
            turn.feed(chunk)
        early = turn.reply()
        await anext(early)
        answer = turn._answer
        assert answer is not None
        while answer.ending is None:
            await asyncio.sleep(0.001)
        await early.aclose()
        turn.commit()
        assert answer.closed
        assert not answer.sequence.released


async def test_speech_at_another_rate_and_nothing_at_all_are_refused() -> None:
    async with exchange("refused") as turn:
        with pytest.raises(InvalidRequest, match="16000 Hz, came at 24000 Hz"):
            turn.feed(AudioChunk(np.zeros(100, np.float32), 24_000))
        with pytest.raises(InvalidRequest, match="came none"):
            await anext(turn.reply())


async def test_a_typed_question_needs_no_speech() -> None:
    async with exchange("typed", history=(Message("user", "Hello."),)) as turn:
        turn.commit()
        assert isinstance([event async for event in turn.reply()][-1], ReplyEnd)


async def test_a_reply_that_fails_in_the_encoder_is_told_and_leaves_the_slot_free() -> None:
    async with exchange("too short") as turn:
        turn.feed(AudioChunk(np.zeros(100, np.float32), 16_000))
        with pytest.raises(InvalidRequest, match=r"0\.01 s"):
            await anext(turn.reply())
