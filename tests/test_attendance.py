"""Replies are counted while they are given, and their times are remembered for a minute."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import numpy as np
import pytest

from deployments.attendance import WINDOW_SEC, Attendance, AttendedBackend, RecentFigures
from routing.errors import AtCapacity
from routing.turns import REPLY_SAMPLE_RATE, AudioChunk, Exchange, ReplyEnd, ReplyEvent, Samples, TextDelta, Turn
from tests.scripted import ScriptedBackend
from tests.virtual_time import on_virtual_time

SOUND = AudioChunk(np.zeros(REPLY_SAMPLE_RATE, np.float32), REPLY_SAMPLE_RATE)


async def slow(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
    await asyncio.sleep(0.4)
    yield TextDelta("hello")
    await asyncio.sleep(0.6)
    yield SOUND
    yield SOUND
    await asyncio.sleep(1)
    yield ReplyEnd()


def turn() -> Turn:
    return Turn(session_id="session", turn_id="turn", index=0)


async def told(exchange: Exchange) -> list[ReplyEvent]:
    async with aclosing(exchange.reply()) as events:
        return [event async for event in events]


@on_virtual_time
async def test_a_reply_is_in_use_until_it_was_told_and_its_first_sound_counts_once() -> None:
    attendance = Attendance()
    async with AttendedBackend(ScriptedBackend(slow), attendance).open(turn(), on_heard=lambda heard: None) as exchange:
        asking = asyncio.create_task(told(exchange))
        await asyncio.sleep(0.5)
        assert attendance.in_use == 1
        events = await asking
    assert len(events) == 4
    assert attendance.in_use == 0
    now = asyncio.get_running_loop().time()
    assert attendance.first_audio_p95_sec(now) == pytest.approx(1.0)
    assert attendance.free_after_sec(4, now) == pytest.approx(2.0 / 4)


@on_virtual_time
async def test_one_more_than_there_are_slots_is_refused_at_once_and_nobody_else_is_hurt() -> None:
    attendance = Attendance(slots=1)
    backend = AttendedBackend(ScriptedBackend(slow), attendance)
    async with (
        backend.open(turn(), on_heard=lambda heard: None) as first,
        backend.open(turn(), on_heard=lambda heard: None) as second,
    ):
        asking = asyncio.create_task(told(first))
        await asyncio.sleep(0.5)
        with pytest.raises(AtCapacity, match="all 1 slots are in use") as refused:
            await told(second)
        assert refused.value.retry_after_sec == 1.0
        assert len(await asking) == 4
        assert len(await told(second)) == 4


@on_virtual_time
async def test_a_reply_that_is_closed_frees_its_slot() -> None:
    attendance = Attendance(slots=1)
    async with AttendedBackend(ScriptedBackend(slow), attendance).open(turn(), on_heard=lambda heard: None) as exchange:
        for _ in range(3):
            events = exchange.reply()
            assert isinstance(await anext(events), TextDelta)
            await events.aclose()
    assert attendance.in_use == 0
    assert attendance.first_audio_p95_sec(asyncio.get_running_loop().time()) is None


def test_the_figures_of_the_last_minute() -> None:
    figures = RecentFigures()
    assert figures.quantile(0.5, now=0) is None
    for number in range(1, 101):
        figures.add(number, now=float(number))
    assert figures.quantile(0.95, now=100) == 97
    assert figures.quantile(0.0, now=100) == 40
    assert figures.quantile(1.0, now=100 + WINDOW_SEC) == 100
    assert figures.quantile(1.0, now=100.1 + WINDOW_SEC) is None
