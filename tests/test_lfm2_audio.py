"""The engine as a replica keeps it: opened by its settings, asked how full it is, and looked after."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from deployments.batch import Batch
from deployments.engine.engine import STUCK_AFTER_SEC
from deployments.lfm2_audio import Lfm2Audio, open_lfm2_audio
from routing.errors import BackendUnavailable, ModelError, SettingsError
from routing.load import Load
from routing.turns import AudioChunk, Exchange, ReplyEnd, ReplyEvent, Turn
from tests.engine_parity import clip, scheduling, settings_for
from tests.tiny_checkpoint import tiny_checkpoint

pytestmark = pytest.mark.engine

SPEECH_SEED = 0  # which is answered with sound


def settings() -> dict[str, object]:
    small = scheduling(maximum_running=2, maximum_waiting=1)
    return settings_for(tiny_checkpoint(seed=2), maximum_reply_sec=2.2, slots=3, scheduler=small).model_dump()


async def answered(model: Lfm2Audio) -> list[ReplyEvent]:
    turn = Turn(session_id="session", turn_id="turn", index=0)
    async with model.backend.open(turn, on_heard=lambda heard: None) as exchange:
        exchange.feed(AudioChunk(clip(SPEECH_SEED), 16_000))
        exchange.commit()
        reading = asyncio.create_task(told(exchange))
        await asyncio.sleep(0)  # now it is asked, and no step can have ended it yet
        assert model.load().in_use == 1
        return await reading


async def told(exchange: Exchange) -> list[ReplyEvent]:
    async with aclosing(exchange.reply()) as events:
        return [event async for event in events]


async def test_it_answers_and_tells_how_full_it_is() -> None:
    async with open_lfm2_audio(await asyncio.to_thread(settings)) as model:
        assert model.backend.name == "lfm2-audio"
        assert model.load() == Load(slots=2, in_use=0)
        batches: list[Batch] = []
        model.watch(batches.append)
        events = await answered(model)
        assert isinstance(events[-1], ReplyEnd)
        assert any(isinstance(event, AudioChunk) for event in events)
        admitting, *slow = batches
        assert (admitting.admitted, admitting.size) == (("turn",), 1)
        assert not any(batch.admitted for batch in slow)
        assert admitting.prefill_tokens > 0
        assert admitting.ended > admitting.began
        steps = model._engine.statistics().scheduler.steps
        assert model.batch_sizes() == {1: steps}
        assert sum(model.step_times_ms().values()) == steps - 1  # but for the one that read the question
        load = model.load()
        assert load.first_audio_p95_sec is not None
        assert (load.in_use, load.waiting, load.queue_wait_sec) == (0, 0, 0.0)
        model.check_health()
        model._engine._step_began = model._engine._clock() - 2 * STUCK_AFTER_SEC
        with pytest.raises(BackendUnavailable, match="has been running for 60 s"):
            model.check_health()
    with pytest.raises(BackendUnavailable, match="closed"):
        model.check_health()


async def test_what_it_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="did you mean checkpoint"):
        async with open_lfm2_audio({"chekpoint": "somewhere"}):
            pass
    with pytest.raises(ModelError):
        async with open_lfm2_audio({"checkpoint": str(tmp_path)}):
            pass
