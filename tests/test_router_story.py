"""Whatever contenders do: one voice at a time, one record, an answer if there is one, and privacy."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from routing.errors import AtCapacity, BackendUnavailable
from routing.router import Router
from routing.turns import AudioChunk, Heard, Placement, ReplyEnd, TextDelta
from tests.conftest import other_tasks
from tests.contenders import (
    AWAY,
    END,
    NEVER,
    SPEECH,
    TURN,
    Step,
    Timed,
    Told,
    in_order,
    listen,
    read,
    router_over,
    sound,
)
from tests.virtual_time import on_virtual_time

MARKS = {"device": 0.1, "cloud": 0.2, "vendor": 0.3}  # by which a sound tells whose it is
MOMENTS = st.sampled_from([0.0, 0.05, 0.2, 0.3, 0.6, 1.5, 12.0])
ENDS = st.sampled_from([END, END, END, NEVER, BackendUnavailable("gone"), AtCapacity("full", retry_after_sec=1), None])


@st.composite
def timelines(draw: st.DrawFn, name: str) -> Timed:
    """A contender that waits, speaks and ends, or does not."""
    steps: list[Step] = []
    if name == "device" or draw(st.booleans()):
        steps += [draw(MOMENTS), Heard(name, is_final=True)]
    for clause in range(draw(st.integers(0, 3))):
        steps += [draw(MOMENTS), f"This is clause {clause} of {name}. ", sound(draw(MOMENTS) + 0.1, MARKS[name])]
    if (end := draw(ENDS)) is not None:
        steps += [draw(MOMENTS), end]
    opening = BackendUnavailable("closed") if draw(st.integers(0, 9)) == 0 else None
    traits = None if name != "vendor" else replace(AWAY, scripts=draw(st.booleans()))
    script = (0.05, sound(1.0, MARKS[name]), END) if draw(st.booleans()) else (0.05, BackendUnavailable("no voice"))
    return Timed(name, *steps, opening=opening, traits=traits, script=script)


def is_healthy(backend: Timed) -> bool:
    """It would have answered if it had been alone, within everybody's patience."""
    waits = [step for step in backend.steps if isinstance(step, float)]
    return backend.opening is None and END in backend.steps and not any(wait > 5 for wait in waits)


@st.composite
def casts(draw: st.DrawFn) -> list[Timed]:
    names = draw(
        st.sampled_from([("device",), ("device", "cloud"), ("device", "cloud", "vendor"), ("cloud", "vendor")])
    )
    return [draw(timelines(name)) for name in names]


@settings(max_examples=60)
@given(
    backends=casts(),
    privacy=st.sampled_from(["any", "any", "device_only"]),
    pause_sec=MOMENTS,
    order=st.permutations(["device", "cloud", "vendor"]),
    paced=st.booleans(),
)
def test_one_turn(
    backends: list[Timed],
    privacy: Literal["any", "device_only"],
    pause_sec: float,
    order: list[str],
    paced: bool,
) -> None:
    on_virtual_time(story)(backends, privacy, pause_sec, order, paced)


async def story(
    backends: list[Timed], privacy: Literal["any", "device_only"], pause_sec: float, order: list[str], paced: bool
) -> None:
    turn = replace(TURN, privacy=privacy)
    told = await listen(*backends, turn=turn, pause_sec=pause_sec, choose=in_order(*order), paced=paced)
    assert_one_voice_at_a_time(told)
    assert_that_it_ends_once(told)
    assert len(told.words) <= 1
    allowed = [backend for backend in backends if privacy == "any" or not backend.traits.is_remote]
    assert all(not backend.turns for backend in backends if backend not in allowed)
    if any(is_healthy(backend) for backend in allowed):
        assert told.got(Placement)
        assert not told.error or told.sound_sec
    assert_that_everybody_let_go(backends, told)


def assert_one_voice_at_a_time(told: Told) -> None:
    speaker = None
    for event in told.events:
        if isinstance(event, Placement):
            assert event.backend != speaker
            speaker = event.backend
        elif isinstance(event, AudioChunk):
            assert speaker is not None
            assert event.samples[0] == sound(0.1, MARKS[speaker]).samples[0]
        elif isinstance(event, TextDelta):
            assert speaker is not None
            assert speaker in event.text


def assert_that_it_ends_once(told: Told) -> None:
    ends = told.got(ReplyEnd)
    assert len(ends) == (0 if told.error else 1)
    assert not ends or told.events[-1] is ends[0]
    assert told.record.outcome.ended == ("failed" if told.error else "told")


def assert_that_everybody_let_go(backends: list[Timed], told: Told) -> None:
    assert other_tasks() == set()
    for backend in backends:
        assert all(exchange.is_closed and not exchange.is_replying for exchange in backend.exchanges)
        assert backend.name in told.voices or not backend.committed


@settings(max_examples=40)
@given(backends=casts(), pauses=st.lists(MOMENTS, max_size=3), gone_after=MOMENTS)
def test_a_caller_who_goes_on_speaking_and_then_leaves(
    backends: list[Timed], pauses: list[float], gone_after: float
) -> None:
    on_virtual_time(leaving)(backends, pauses, gone_after)


async def leaving(backends: list[Timed], pauses: list[float], gone_after: float) -> None:
    told = Told()
    calling = asyncio.create_task(call(router_over(*backends, told=told), told, pauses))
    await asyncio.sleep(sum(pauses) + 0.5 + gone_after)
    calling.cancel()
    await asyncio.wait([calling])
    assert len(told.records) == 1
    assert other_tasks() == set()
    assert all(exchange.is_closed for backend in backends for exchange in backend.exchanges)
    assert_one_voice_at_a_time(told)


async def call(router: Router, told: Told, pauses: list[float]) -> None:
    """Each pause asks for a reply that is forgotten when the caller goes on; the last one is released."""
    async with router.open(TURN, on_heard=lambda _: None) as exchange:
        for pause in pauses:
            exchange.feed(SPEECH)
            asking = asyncio.create_task(read(exchange, Told()))
            await asyncio.sleep(pause)
            asking.cancel()
            await asyncio.wait([asking])
        exchange.feed(SPEECH)
        asyncio.get_running_loop().call_later(0.4, exchange.commit)
        await read(exchange, told)
        await asyncio.Event().wait()
