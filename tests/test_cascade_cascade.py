"""The device's models as a replica keeps them: warm when opened, full when full, and the same answer every time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from deployments.cascade.cascade import Cascade, open_cascade
from deployments.cascade.embedder import open_embedder
from deployments.cascade.settings import CascadeSettings
from deployments.cascade.workload import Workload
from edge_client.audio import resample
from edge_client.device.backend import DeviceBackend
from edge_client.device.skills import load_skills
from edge_client.models.library import Library
from routing.errors import AtCapacity, BackendUnavailable, ModelError, SettingsError
from routing.load import Load
from routing.turns import (
    REPLY_SAMPLE_RATE,
    SPEECH_SAMPLE_RATE,
    AudioChunk,
    Heard,
    Message,
    ReplyEnd,
    ReplyEvent,
    Samples,
    TextDelta,
    Turn,
)
from tests import device_models
from tests.device_models import ScriptedModels
from tests.spoken import spoken

QUESTIONS = ("What is the capital of France?", "What is twelve times eight?", "Do you like music?")
CHUNK = 1280


def turn(*history: Message) -> Turn:
    return Turn(session_id="session", turn_id="turn", index=0, history=history)


async def answered(cascade: Cascade, speech: Samples, *, chunk: int = CHUNK, pause_sec: float = 0) -> list[ReplyEvent]:
    async with cascade.backend.open(turn(), on_heard=lambda heard: None) as exchange:
        for start in range(0, len(speech), chunk):
            exchange.feed(AudioChunk(speech[start : start + chunk], SPEECH_SAMPLE_RATE))
            await asyncio.sleep(pause_sec)
        exchange.commit()
        async with aclosing(exchange.reply()) as events:
            return [event async for event in events]


def words(events: Sequence[ReplyEvent]) -> tuple[str, str]:
    """What was heard, and what was said."""
    heard = " ".join(event.text for event in events if isinstance(event, Heard))
    return heard, "".join(event.text for event in events if isinstance(event, TextDelta))


def sound(events: Sequence[ReplyEvent]) -> Samples:
    return np.concatenate([event.samples for event in events if isinstance(event, AudioChunk)])


def hold(begun: threading.Event, opened: threading.Event) -> None:
    """A call that goes on until it is let go."""
    begun.set()
    assert opened.wait(10)


# -- with scripted models ----------------------------------------------------------------------------------------------


@pytest.fixture
def models() -> ScriptedModels:
    return ScriptedModels()


@pytest.fixture
def library(models: ScriptedModels) -> Iterator[Library]:
    with models.library() as library:
        yield library


@asynccontextmanager
async def scripted(library: Library, **settings: float) -> AsyncIterator[Cascade]:
    chosen = CascadeSettings.model_validate(settings)
    async with open_embedder(library.embedder, maximum_batch=8, longest_wait_ms=0) as embedder:
        backend = DeviceBackend(library=library, skills=load_skills(), settings=chosen, embedder=embedder)
        workload = Workload.since_now(library.threads())
        yield Cascade(backend, embedder=embedder, workload=workload, settings=chosen)


async def test_one_more_than_there_are_slots_is_refused_at_once(models: ScriptedModels, library: Library) -> None:
    models.writer.replies = {"User: purple elephants wander": " Indeed."}
    models.writer.pen.clear()
    async with scripted(library, slots=1) as cascade:
        assert cascade.load() == Load(slots=1, in_use=0)
        asking = asyncio.create_task(answered(cascade, device_models.spoken("purple elephants wander")))
        while cascade.load().in_use < 1:
            await asyncio.sleep(0.001)
        with pytest.raises(AtCapacity, match="all 1 slots are in use"):
            await answered(cascade, device_models.spoken("what time is it"))
        models.writer.pen.set()
        assert words(await asking) == ("purple elephants wander", "Indeed.")
        load = cascade.load()
    assert load.in_use == 0
    assert load.first_audio_p95_sec is not None


async def test_a_model_that_hangs_makes_it_unhealthy(library: Library) -> None:
    begun, opened = threading.Event(), threading.Event()
    async with scripted(library, stuck_after_sec=1e-9) as cascade:
        cascade.check_health()
        hanging = asyncio.create_task(library.language.thread.run(partial(hold, begun, opened)))
        assert await asyncio.to_thread(begun.wait, 10)
        with pytest.raises(BackendUnavailable, match="'language' has been at one call"):
            cascade.check_health()
        opened.set()
        await hanging


async def test_what_it_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="slot: there is no such setting; did you mean slots"):
        async with open_cascade({"slot": 2}):
            pass
    with pytest.raises(SettingsError, match="the skill module 'no_such_module' cannot be imported"):
        async with open_cascade({"skills": "no_such_module"}):
            pass
    with pytest.raises(ModelError, match="run: antiphon models pull"):
        async with open_cascade({"models": str(tmp_path)}):
            pass


# -- with the real models ----------------------------------------------------------------------------------------------

on_models = [pytest.mark.models, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cascade() -> AsyncIterator[Cascade]:
    async with open_cascade({"slots": 8}) as cascade:
        yield cascade
        threads = cascade._workload.threads
    for thread in threads:
        await asyncio.to_thread(thread.join)
    names = {thread.name for thread in threads}
    assert not [each for each in threading.enumerate() if each.name.rpartition("_")[0] in names]


@pytest.fixture(scope="module")
def speech() -> list[Samples]:
    return [resample(spoken(question), REPLY_SAMPLE_RATE, SPEECH_SAMPLE_RATE) for question in QUESTIONS]


class TestWithModels:
    """They share one cascade, which takes seconds to load."""

    pytestmark = on_models

    async def test_it_is_warm_when_it_is_opened(self, cascade: Cascade) -> None:
        assert cascade.backend.name == "cascade"
        assert cascade.load() == Load(slots=8, in_use=0)
        assert cascade.embedding().calls > 0  # the skills are known
        cascade.check_health()

    async def test_without_ears(self, cascade: Cascade) -> None:
        assert {thread.name for thread in cascade._workload.threads} == {
            "speech to text",
            "embedder",
            "language",
            "voice",
        }

    async def test_the_same_turn_has_the_same_answer_alone_in_company_and_in_another_rhythm(
        self, cascade: Cascade, speech: list[Samples]
    ) -> None:
        alone = [await answered(cascade, each) for each in speech]
        together = await asyncio.gather(*(answered(cascade, each, chunk=3200, pause_sec=0.01) for each in speech * 2))
        assert words(alone[0]) == (QUESTIONS[0], "The capital of France is Paris.")
        for first, second in zip(alone * 2, together, strict=True):
            assert words(first) == words(second)
            np.testing.assert_array_equal(sound(first), sound(second))
            assert isinstance(first[-1], ReplyEnd)
        assert cascade.load().in_use == 0
        assert cascade.load().first_audio_p95_sec is not None

    async def test_a_turn_that_was_written_down_in_parts_has_the_same_words(
        self, cascade: Cascade, speech: list[Samples]
    ) -> None:
        """Cut in the middle of a word, where guesses differ most."""
        for each in speech[:2]:
            cut = each[: len(each) * 4 // 5]
            at_once = await answered(cascade, cut, chunk=len(cut))
            in_parts = await answered(cascade, cut, pause_sec=0.01)
            assert words(at_once) == words(in_parts)
