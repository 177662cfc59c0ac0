"""The router is a backend over backends: one of them answers each turn, and another where that one fails."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import numpy as np

from routing.errors import AtCapacity, BackendUnavailable
from routing.router import Router
from routing.turns import AudioChunk, Heard, Placement, ReplyEnd, TextDelta, Turn
from tests.contenders import END, NEVER, SPEECH, TURN, Timed, Told, contender, in_order, listen, read, sound
from tests.scripted import ScriptedBackend, say
from tests.virtual_time import on_virtual_time

WORDS = Heard("hello there", is_final=True, end_of_sentence=1.0)
TYPED = Turn(session_id="sess_1", turn_id="turn_1", index=0, modality="text")

# -- over a single backend ---------------------------------------------------------------------------------------------


async def test_every_reply_begins_with_its_placement() -> None:
    backend = ScriptedBackend(say("hello"))
    async with Router.over(backend).open(TYPED, on_heard=lambda _: None) as exchange:
        exchange.commit()
        events = [event async for event in exchange.reply()]
    placement, *rest = events
    assert isinstance(placement, Placement)
    assert (placement.backend, placement.reason) == ("scripted", "only backend")
    assert rest == [TextDelta("hello"), ReplyEnd({"script": 0.0})]


async def test_what_is_fed_committed_and_closed_reaches_the_backend() -> None:
    backend = ScriptedBackend()
    chunk = AudioChunk(np.zeros(1280, np.float32), 16_000)
    async with Router.over(backend).open(TURN, on_heard=lambda _: None) as exchange:
        exchange.feed(chunk)
        exchange.commit()
        async with aclosing(exchange.reply()) as events:
            async for event in events:
                if isinstance(event, AudioChunk):
                    break
        served = backend.exchanges[0]
        assert served.chunks == [chunk]
        assert served.committed
        assert not served.closed
    assert served.closed


# -- who speaks --------------------------------------------------------------------------------------------------------


def device(*steps: object, **options: object) -> Timed:
    return Timed("device", 0.05, WORDS, *(steps or (0.1, "Device.", sound(1), END)), **options)  # type: ignore[arg-type]


def cloud(*steps: object, **options: object) -> Timed:
    return Timed("cloud", *(steps or (0.2, "Cloud.", sound(1), END)), **options)  # type: ignore[arg-type]


@on_virtual_time
async def test_the_first_choice_speaks_where_it_comes_in_time() -> None:
    near, far = device(), cloud()
    told = await listen(near, far)
    assert told.voices == ["cloud"]
    assert told.text == "Cloud."
    assert told.words == ["hello there"]  # the device has written them down all the same
    assert told.moment(AudioChunk) == 0.1
    assert (near.committed, far.committed) == (0, 1)
    assert (near.rolled_back, far.rolled_back) == (0, 0)


@on_virtual_time
async def test_words_are_told_at_once_and_sound_only_after_the_commit() -> None:
    told = await listen(device(), cloud(), pause_sec=0.5)
    assert told.moment(Heard) == -0.45
    assert told.moment(Placement) == 0.0


@on_virtual_time
async def test_a_held_answer_is_released_when_the_first_choice_is_late() -> None:
    near, far = device(), cloud(NEVER)
    told = await listen(near, far)
    assert told.voices == ["device"]
    assert told.moment(AudioChunk) == 0.3
    assert far.rolled_back == 1
    assert (near.committed, far.committed) == (1, 0)


@on_virtual_time
async def test_a_loser_is_closed_at_once() -> None:
    near, far = device(0.1, "Device.", *[sound(0.2), 0.1] * 30, END), cloud()
    told = await listen(near, far)
    assert told.voices == ["cloud"]
    assert near.rolled_back == 1
    assert near.exchanges[0].told < 5


@on_virtual_time
async def test_a_failure_before_sound_costs_nothing_but_the_wait_for_the_other() -> None:
    for failure in (BackendUnavailable("gone"), AtCapacity("full", retry_after_sec=1), RuntimeError("broken")):
        told = await listen(device(), cloud(0.15, failure))
        assert told.voices == ["device"]
        assert told.moment(AudioChunk) == 0.05


@on_virtual_time
async def test_a_reply_without_an_end_is_a_failure() -> None:
    told = await listen(device(), cloud(0.15, "Cloud"))
    assert told.voices == ["device"]


@on_virtual_time
async def test_a_contender_that_cannot_be_opened_is_left_out() -> None:
    told = await listen(device(), cloud(opening=RuntimeError("no socket")))
    assert told.voices == ["device"]
    assert told.error is None


@on_virtual_time
async def test_where_nobody_can_answer_the_reply_says_so() -> None:
    told = await listen(device(BackendUnavailable("broken")), cloud(BackendUnavailable("gone")))
    assert told.voices == []
    assert told.error is not None
    assert told.record.outcome.ended == "failed"


@on_virtual_time
async def test_a_private_turn_is_opened_here_only() -> None:
    near, far = device(), cloud()
    told = await listen(near, far, turn=replace(TURN, privacy="device_only"))
    assert told.voices == ["device"]
    assert far.turns == []
    assert told.record.keeps_privacy


@on_virtual_time
async def test_an_announcement_is_opened_to_those_only_who_say_a_given_text() -> None:
    near, far = device(), cloud()
    told = await listen(near, far, turn=replace(TURN, script="Your tea is ready."))
    assert told.voices == ["device"]
    assert far.turns == []


@on_virtual_time
async def test_a_probe_that_lost_after_its_first_sound_leaves_room_for_the_next() -> None:
    near, far = device(0.1, "Device.", sound(1), END), cloud(0.1, "Cloud.", *[sound(0.1), 0.1] * 30, END)
    told = Told()
    contenders = [contender(near), contender(far)]
    for _ in range(3):
        contenders[1].outlook.note_failure(0.0)
    await asyncio.sleep(2)
    router = Router(contenders, choose=in_order("device", "cloud"), on_placed=told.records.append)
    for _ in range(2):
        async with router.open(TURN, on_heard=lambda _: None) as exchange:
            exchange.feed(SPEECH)
            asyncio.get_running_loop().call_later(0.3, exchange.commit)
            await read(exchange, told)
    assert told.voices == ["device", "device"]
    assert len(far.turns) == 2
