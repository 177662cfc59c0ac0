"""A call that is begun, resumed and ended all at once: whatever comes first, one place is taken while it is carried."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from edge_client.realtime.calls import Answer, Calls
from edge_client.realtime.edge import Edge
from edge_client.webrtc.peer import Peer
from routing.errors import InvalidRequest
from tests.edge import scripted_edge
from tests.peers import Caller
from tests.scripted import tone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]  # real peers, in real time

VANISHING = {"vanish_timeout_sec": 0.5}


@asynccontextmanager
async def open_calls(**settings: Any) -> AsyncIterator[tuple[Edge, Calls]]:
    async with scripted_edge(**settings) as edge, asyncio.TaskGroup() as tasks:
        calls = Calls(edge, tasks)
        try:
            yield edge, calls
        finally:
            calls.close()


async def begun(calls: Calls, caller: Caller) -> Answer:
    answer = await calls.begin(await caller.offer(), {})
    await caller.accept(answer.description)
    await caller.connected()
    return answer


async def resumed(calls: Calls, answer: Answer, caller: Caller, *, last_event_id: str | None = None) -> None:
    resumed = await calls.resume(answer.token, await caller.offer(), last_event_id=last_event_id)
    await caller.accept(resumed.description)
    await caller.opened()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_call_that_is_hung_up_before_it_is_served_leaves_nothing_behind(nothing_left_behind: None) -> None:
    async with Caller() as caller:
        offer = await caller.offer()
        async with open_calls() as (edge, calls):
            await calls.begin(offer, {})
        assert edge.sessions == 0


async def test_a_call_that_was_never_connected_gives_way_however_often_it_is_resumed() -> None:
    async with open_calls(maximum_sessions=2) as (edge, calls), AsyncExitStack() as callers:
        offers = [await (await callers.enter_async_context(Caller())).offer() for _ in range(5)]
        dialled = [await calls.begin(offer, {}, address="198.51.100.1") for offer in offers[:2]]
        for answer, offer in zip(dialled, offers[2:4], strict=True):
            await calls.resume(answer.token, offer, last_event_id=None)
        assert len(edge.half_open) == 2
        await calls.begin(offers[4], {}, address="203.0.113.7")
        assert edge.sessions == 2
        with pytest.raises(InvalidRequest):
            await calls.resume(dialled[0].token, offers[0], last_event_id=None)


async def test_a_call_that_waits_for_its_caller_is_hung_up_at_once(nothing_left_behind: None) -> None:
    async with open_calls(peer=VANISHING) as (edge, calls), Caller() as caller, Caller() as again:
        answer = await begun(calls, caller)
        caller.vanish()
        await until(lambda: edge.sessions == 0)
        offer = await again.offer()
        calls.hang_up(answer.call_id)
        with pytest.raises(InvalidRequest, match="has ended"):
            await calls.resume(answer.token, offer, last_event_id=None)
        await until(lambda: not list(calls))


async def test_who_is_given_up_while_resuming_has_a_place_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_calls(peer=VANISHING) as (edge, calls), Caller() as caller, Caller() as again:
        answer = await begun(calls, caller)
        caller.vanish()
        (call,), prompt = calls, Peer.answer

        async def late(*args: Any, **kwargs: Any) -> Peer:
            peer = await prompt(*args, **kwargs)
            await until(lambda: not call.carried)
            return peer

        monkeypatch.setattr(Peer, "answer", late)
        await calls.resume(answer.token, await again.offer(), last_event_id=None)
        assert edge.sessions == 1


async def test_each_connection_of_a_call_is_counted_once_all_the_time() -> None:
    async with open_calls() as (edge, calls), Caller() as caller, Caller() as hasty, Caller() as again:

        def connections() -> int:
            running = [each for call in calls for each in call.statistics()]
            return int(edge.media.with_running(running)["connections"])

        answer = await begun(calls, caller)
        assert connections() == 1
        for offer in [await hasty.offer(), await again.offer()]:
            await calls.resume(answer.token, offer, last_event_id=None)
        assert connections() == 3
        calls.hang_up(answer.call_id)
        while list(calls):
            assert connections() == 3
            await asyncio.sleep(0)
        assert connections() == 3


async def test_events_from_before_the_channel_are_sent_after_the_greeting_once() -> None:
    async with open_calls() as (_, calls), Caller(channel=None) as deaf, Caller() as caller, Caller() as again:
        answer = await begun(calls, deaf)
        deaf.microphone.say(tone(0.6))
        await deaf.sound()
        await resumed(calls, answer, caller)
        await caller.event("output_audio_buffer.stopped")
        told = [event["type"] for event in caller.events]
        assert (told[0], told.count("session.created")) == ("session.created", 1)
        await resumed(calls, answer, again, last_event_id=caller.events[1]["event_id"])
        await again.event("output_audio_buffer.stopped")
        assert [event["type"] for event in again.events] == told[2:]
