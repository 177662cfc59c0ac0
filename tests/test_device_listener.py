"""A turn's words are all kept, however long it is and whenever one asks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest

from edge_client.device.listener import LONGEST_PASS, MOST_WAITING, HostedTranscriber, Listener
from routing.turns import SPEECH_SAMPLE_RATE
from tests.device_models import WORD_SAMPLES, ScriptedModels, chunks, spoken


@pytest.fixture
def scripted() -> ScriptedModels:
    return ScriptedModels()


@pytest.fixture
def listener(scripted: ScriptedModels) -> Iterator[Listener]:
    with scripted.library() as library:
        yield Listener(HostedTranscriber(library.speech_to_text))


def feed(listener: Listener, text: str) -> None:
    for chunk in chunks(spoken(text)):
        listener.feed(chunk.samples)


async def test_each_pass_hears_the_whole_turn_with_the_last_words_as_a_draft(
    scripted: ScriptedModels, listener: Listener
) -> None:
    feed(listener, "one two")
    assert await listener.transcribe() == "one two"
    feed(listener, "three")
    assert await listener.transcribe() == "one two three"
    assert [samples for samples, _ in scripted.ear.passes] == [2 * WORD_SAMPLES, 3 * WORD_SAMPLES]
    assert [len(draft) for _, draft in scripted.ear.passes] == [0, 2]


async def test_what_was_heard_already_is_not_heard_again(scripted: ScriptedModels, listener: Listener) -> None:
    feed(listener, "one two")
    assert [await listener.transcribe() for _ in range(3)] == ["one two"] * 3
    assert len(scripted.ear.passes) == 1


async def test_two_who_ask_at_once_get_the_same_words_from_one_pass(
    scripted: ScriptedModels, listener: Listener
) -> None:
    feed(listener, "one two")
    first, second = await asyncio.gather(listener.transcribe(), listener.transcribe())
    assert first == second == "one two"
    assert len(scripted.ear.passes) == 1


async def test_a_pass_that_was_cancelled_is_made_up_for(scripted: ScriptedModels, listener: Listener) -> None:
    feed(listener, "one two")
    asking = asyncio.create_task(listener.transcribe())
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await listener.transcribe() == "one two"


async def test_a_long_turn_keeps_all_its_words_and_its_passes_stay_short(
    scripted: ScriptedModels, listener: Listener
) -> None:
    words = [f"word{number}" for number in range(180)]  # 58 s
    for some in range(0, len(words), 20):
        feed(listener, " ".join(words[some : some + 20]))
        listener.feed(np.zeros(WORD_SAMPLES, np.float32))  # a pause, to cut at
        assert len((await listener.transcribe()).split()) == some + 20
    assert (await listener.transcribe()).split() == words
    assert max(samples for samples, _ in scripted.ear.passes) <= LONGEST_PASS


async def test_a_long_turn_that_comes_at_once_keeps_all_its_words(scripted: ScriptedModels, listener: Listener) -> None:
    for _ in range(9):
        feed(listener, "all of these words are said without much of a break in between")
        listener.feed(np.zeros(WORD_SAMPLES, np.float32))
    assert len((await listener.transcribe()).split()) == 9 * 13


async def test_more_than_a_minute_unheard_is_lost_with_a_warning(
    listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    feed(listener, "early")
    for _ in range(MOST_WAITING // SPEECH_SAMPLE_RATE):
        listener.feed(np.zeros(SPEECH_SAMPLE_RATE, np.float32))
    feed(listener, "late")
    assert await listener.transcribe() == "late"
    assert "speech was lost" in caplog.text


async def test_waiting_for_more_speech(listener: Listener) -> None:
    waiting = asyncio.create_task(listener.fed_up_to(2 * WORD_SAMPLES))
    feed(listener, "one")
    await asyncio.sleep(0)
    assert not waiting.done()
    feed(listener, "two")
    await waiting
    assert listener.fed == 2 * WORD_SAMPLES
