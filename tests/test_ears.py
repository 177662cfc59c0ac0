"""From samples of any size to frames with signals."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import numpy as np
import pytest

from edge_client.ears import INBOX_SAMPLES, PRE_ROLL_FRAMES, Ears, HeardFrame
from edge_client.endpointer import FRAME_SAMPLES, EndpointerSettings, SpeechOnset, TurnEnded
from tests.scripted import LoudnessDetector, tone
from tests.stage import InlineThread
from tests.virtual_time import on_virtual_time


def new_ears(**settings: object) -> Ears:
    chosen = EndpointerSettings(**settings)  # type: ignore[arg-type]
    return Ears(detector=LoudnessDetector(), thread=InlineThread(), settings=chosen)


async def listen(ears: Ears, seconds: float) -> list[HeardFrame]:
    heard: list[HeardFrame] = []
    async with aclosing(ears.frames()) as frames:
        try:
            async with asyncio.timeout(seconds):
                async for frame in frames:
                    heard.append(frame)
        except TimeoutError:
            return heard
    return heard


@pytest.mark.parametrize("size", [1, 160, 320, 511, 512, 513, 5000])
def test_blocks_of_any_size_become_the_same_frames(size: int) -> None:
    @on_virtual_time
    async def story() -> None:
        samples = np.random.default_rng(0).standard_normal(20 * FRAME_SAMPLES).astype(np.float32) * 1e-3
        ears = new_ears()
        for start in range(0, len(samples), size):
            ears.hear(samples[start : start + size])
        frames = await listen(ears, 1)
        assert np.array_equal(np.concatenate([frame.samples for frame in frames]), samples)

    story()


@on_virtual_time
async def test_the_pre_roll_ends_with_the_frame_of_the_onset() -> None:
    ears = new_ears()
    ears.hear(np.zeros(20 * FRAME_SAMPLES, np.float32))
    ears.hear(tone(0.1))
    async with aclosing(ears.frames()) as frames:
        async for frame in frames:
            if any(isinstance(signal, SpeechOnset) for signal in frame.signals):
                break
    assert len(ears.pre_roll) == PRE_ROLL_FRAMES
    assert np.array_equal(ears.pre_roll[-1], frame.samples)
    assert ears.pre_roll[-2].any()
    assert not ears.pre_roll[0].any()


@on_virtual_time
async def test_arrivals_are_remembered_by_position() -> None:
    ears = new_ears()
    loop = asyncio.get_running_loop()
    ears.hear(np.zeros(1000, np.float32))
    await asyncio.sleep(1)
    ears.hear(np.zeros(1000, np.float32))
    assert ears.arrived_at(500) == loop.time() - 1
    assert ears.arrived_at(1500) == loop.time()


@on_virtual_time
async def test_a_stalled_stream_goes_on_in_silence_only_while_a_turn_is_open() -> None:
    ears = new_ears()
    ears.hear(tone(0.5))
    frames = await listen(ears, 10)
    ended = [signal for frame in frames for signal in frame.signals if isinstance(signal, TurnEnded)]
    assert len(ended) == 1
    assert 0 < ears.statistics().filled < 3 * 16_000


@on_virtual_time
async def test_more_than_a_minute_in_waiting_drops_the_oldest_and_counts_it() -> None:
    ears = new_ears()
    for _ in range(70):
        ears.hear(np.zeros(16_000, np.float32))
    statistics = ears.statistics()
    assert statistics.waiting == INBOX_SAMPLES
    assert statistics.overflowed == 10 * 16_000


@on_virtual_time
async def test_a_sender_that_can_wait_waits_until_the_listener_has_caught_up() -> None:
    ears = new_ears()
    ears.hear(np.zeros(5 * 16_000, np.float32))
    waiting = asyncio.create_task(ears.room())
    await asyncio.sleep(1)
    assert not waiting.done()
    await listen(ears, 1)
    await waiting


@on_virtual_time
async def test_in_the_manual_mode_the_last_minute_is_kept_for_the_asking() -> None:
    ears = new_ears(mode="manual")
    ears.hear(tone(0.5))
    assert await listen(ears, 1) == []
    assert len(ears.take_kept()) == 12_000
    assert len(ears.take_kept()) == 0


@on_virtual_time
async def test_what_was_taken_does_not_count_as_time_of_the_conversation() -> None:
    ears = new_ears(mode="manual")
    ears.hear(tone(5))
    ears.take_kept()
    ears.attend(EndpointerSettings(mode="silence"))
    await asyncio.sleep(1)
    ears.hear(np.zeros(1000, np.float32))
    assert ears.arrived_at(ears.endpointer.position + 500) == asyncio.get_running_loop().time()


@on_virtual_time
async def test_other_rules_hold_from_the_next_frame_on() -> None:
    ears = new_ears(mode="manual")
    ears.attend(EndpointerSettings(mode="silence"))
    ears.hear(tone(0.5))
    ears.hear(np.zeros(16_000, np.float32))
    frames = await listen(ears, 2)
    assert [signal.reason for frame in frames for signal in frame.signals if isinstance(signal, TurnEnded)] == [
        "silence"
    ]
