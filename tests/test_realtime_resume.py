"""Calls whose connection breaks: the session waits, and goes on over another one. Real aiortc peers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from edge_client.network.emulated import emulate
from edge_client.network.profile import find_profile
from tests.edge import RunningEdge, running_edge
from tests.peers import Caller
from tests.scale import scale, steps_heard
from tests.scripted import ScriptedBackend, say, tone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]  # real peers, in real time

SPEECH = tone(0.6)
PEER = {"vanish_timeout_sec": 1.0, "suspect_timeout_sec": 0.7}


@asynccontextmanager
async def calling(edge: RunningEdge, **headers: str) -> AsyncIterator[tuple[Caller, httpx.Response]]:
    async with Caller() as caller:
        answer = await dial(edge, caller, **headers)
        assert answer.status_code == 201, answer.text
        await caller.accept(answer.text)
        await caller.connected()
        await caller.opened()
        yield caller, answer


async def dial(edge: RunningEdge, caller: Caller, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(base_url=edge.url) as client:
        offer = await caller.offer()
        return await client.post(
            "/v1/realtime/calls", content=offer, headers={"Content-Type": "application/sdp"} | named
        )


def resuming(answer: httpx.Response, last: dict[str, Any] | None = None) -> dict[str, str]:
    headers = {"Antiphon_Resume": answer.headers["Antiphon-Resume"]}
    return headers | ({"Antiphon_Last_Event": last["event_id"]} if last else {})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)


async def test_calls_that_break_go_on_side_by_side(nothing_left_behind: None) -> None:
    """Each with an edge of its own, for most of each story is waiting."""
    async with asyncio.TaskGroup() as stories:
        for story in (
            go_on_where_the_reply_was_last_heard,
            lose_no_word_in_a_short_cut,
            answer_after_the_cut_what_was_said_before_it,
            tell_missed_events_once_and_in_order,
            move_a_reply_over,
        ):
            stories.create_task(story())


async def go_on_where_the_reply_was_last_heard() -> None:
    backend = ScriptedBackend(scale())
    async with running_edge(backend, peer=PEER) as edge, calling(edge) as (caller, answer):
        caller.microphone.say(SPEECH)
        await caller.sound()
        await asyncio.sleep(1)
        before = caller.events[-1]
        caller.vanish()
        heard_before = steps_heard(caller.heard_samples)
        await until(lambda: edge.edge.sessions == 0)
        async with calling(edge, **resuming(answer, before)) as (again, resumed):
            assert resumed.headers["Location"] == answer.headers["Location"]
            await again.event("output_audio_buffer.stopped")
            heard_after = steps_heard(again.heard_samples)
    heard = heard_before + heard_after
    assert heard == sorted(heard)
    assert [number for number in range(30) if number not in heard] == []
    # Only the step in the middle of which the link was cut may be heard in two parts.
    assert len(heard) - len(set(heard)) <= 1


async def lose_no_word_in_a_short_cut() -> None:
    async with running_edge(ScriptedBackend(scale())) as edge, calling(edge) as (caller, _):
        network = emulate(caller.ice, find_profile("lan"), seed=1)
        caller.microphone.say(SPEECH)
        await caller.sound()
        await asyncio.sleep(1)
        network.cut()
        await asyncio.sleep(2)
        heard_before = len(caller.heard)
        network.restore()
        await caller.event("output_audio_buffer.stopped")
        heard = steps_heard(caller.heard_samples)
    assert len(caller.heard) > heard_before
    assert heard == sorted(heard)
    assert len(set(heard)) == 30
    assert len(heard) <= 31  # the step that the cut went through may be heard in two parts


async def answer_after_the_cut_what_was_said_before_it() -> None:
    backend = ScriptedBackend(say("first"), say("second", heard="and then"), say("third", heard="go on"))
    async with running_edge(backend, peer=PEER) as edge, calling(edge) as (caller, answer):
        caller.microphone.say(SPEECH)
        await caller.event("output_audio_buffer.stopped")
        caller.microphone.say(SPEECH)
        await caller.until(lambda: caller.microphone.silent)
        last = caller.events[-1]
        caller.vanish()
        await until(lambda: edge.edge.sessions == 0)
        async with calling(edge, **resuming(answer, last)) as (again, _):
            done = await again.event("response.done")
            await again.sound()
            await again.event("output_audio_buffer.stopped")
            again.microphone.say(SPEECH)
            await again.event("output_audio_buffer.stopped")
            types = [event["type"] for event in again.events]
    assert done["response"]["output"][0]["content"][0]["transcript"] == "second"
    assert "session.created" not in types
    words = [message.text for message in backend.turns[2].history if hasattr(message, "text")]
    assert words == ["hello there", "first", "and then", "second"]


async def tell_missed_events_once_and_in_order() -> None:
    async with running_edge(ScriptedBackend(scale()), peer=PEER) as edge, calling(edge) as (caller, answer):
        caller.microphone.say(SPEECH)
        await caller.event("output_audio_buffer.started")
        seen = caller.events
        async with calling(edge, **resuming(answer, seen[2])) as (again, _):
            await again.event("output_audio_buffer.stopped")
            told = again.events
    ids = [event["event_id"] for event in told]
    assert ids[: len(seen) - 3] == [event["event_id"] for event in seen[3:]]
    assert len(ids) == len(set(ids))


async def test_the_old_connection_is_let_go_when_the_new_one_is_answered(nothing_left_behind: None) -> None:
    async with running_edge() as edge, calling(edge) as (caller, answer):
        async with calling(edge, **resuming(answer)) as (again, _):
            await caller.until(lambda: caller.connection.connectionState == "closed")
            assert edge.edge.sessions == 1
            again.microphone.say(SPEECH)
            await again.event("response.done")
        await until(lambda: edge.edge.sessions == 0)


async def move_a_reply_over() -> None:
    async with running_edge(ScriptedBackend(scale())) as edge, calling(edge) as (caller, answer):
        caller.microphone.say(SPEECH)
        await caller.sound()
        await asyncio.sleep(0.7)
        async with calling(edge, **resuming(answer)) as (again, _):
            heard = steps_heard(caller.heard_samples)
            await again.event("output_audio_buffer.stopped")
            heard += steps_heard(again.heard_samples)
    assert heard == sorted(heard)
    assert len(heard) >= len(set(heard)) == 30


async def test_while_a_caller_is_away_others_have_the_place() -> None:
    async with running_edge(peer=PEER, maximum_sessions=1) as edge, calling(edge) as (caller, answer):
        caller.vanish()
        await until(lambda: edge.edge.sessions == 0)
        async with calling(edge):
            async with Caller() as again:
                refused = await dial(edge, again, **resuming(answer))
            assert refused.status_code == 503
        await until(lambda: edge.edge.sessions == 0)
        async with calling(edge, **resuming(answer)) as (again, _):
            again.microphone.say(SPEECH)
            await again.event("response.done")


async def test_a_caller_who_comes_back_several_times_at_once_has_one_place() -> None:
    async with (
        running_edge(peer=PEER | {"connect_timeout_sec": 3.0}, maximum_sessions=3) as edge,
        calling(edge) as (caller, answer),
    ):
        caller.vanish()
        await until(lambda: edge.edge.sessions == 0)
        async with Caller() as one, Caller() as other, Caller() as third:
            resumed = await asyncio.gather(*(dial(edge, hasty, **resuming(answer)) for hasty in (one, other, third)))
            assert [each.status_code for each in resumed] == [201, 201, 201]
            assert edge.edge.sessions == 1
        await until(lambda: edge.edge.sessions == 0)


async def test_an_offer_that_cannot_be_answered_takes_no_place() -> None:
    async with running_edge(peer=PEER) as edge, calling(edge) as (caller, answer):
        caller.vanish()
        await until(lambda: edge.edge.sessions == 0)
        async with httpx.AsyncClient(base_url=edge.url) as client:
            headers = {"Content-Type": "application/sdp", "Antiphon-Resume": answer.headers["Antiphon-Resume"]}
            refused = await client.post("/v1/realtime/calls", content="v=0", headers=headers)
        assert (refused.status_code, edge.edge.sessions) == (400, 0)


async def test_of_too_many_callers_who_are_away_the_first_is_given_up() -> None:
    async with running_edge(peer=PEER, maximum_sessions=1) as edge:
        answers = []
        for _ in range(2):
            async with calling(edge) as (caller, answer):
                answers.append(answer)
                caller.vanish()
                await until(lambda: edge.edge.sessions == 0)
        async with Caller() as caller:
            assert (await dial(edge, caller, **resuming(answers[0]))).status_code == 404
        async with Caller() as caller:
            assert (await dial(edge, caller, **resuming(answers[1]))).status_code == 201


@pytest.mark.parametrize("gone", ["hung up", "too late", "unknown"])
async def test_a_call_that_is_over_cannot_be_resumed(gone: str, nothing_left_behind: None) -> None:
    async with running_edge(peer=PEER | {"resume_timeout_sec": 0.2}) as edge:
        async with calling(edge) as (caller, answer):
            if gone == "too late":
                caller.vanish()
                await until(lambda: edge.edge.sessions == 0)
                await asyncio.sleep(0.5)
        await until(lambda: edge.edge.sessions == 0)
        headers = {"Antiphon_Resume": "resume_0000"} if gone == "unknown" else resuming(answer)
        async with Caller() as again:
            refused = await dial(edge, again, **headers)
    assert refused.status_code == 404
    assert refused.json()["error"]["code"] == "call_not_found"


async def test_a_call_that_is_being_hung_up_cannot_be_resumed_any_more() -> None:
    async with running_edge() as edge, calling(edge) as (_, answer), Caller() as again:
        offer = await again.offer()
        headers = {name.replace("_", "-"): value for name, value in resuming(answer).items()}
        async with httpx.AsyncClient(
            base_url=edge.url, headers={"Content-Type": "application/sdp"} | headers
        ) as client:
            hung_up = await client.delete(answer.headers["Location"])
            refused = await client.post("/v1/realtime/calls", content=offer)
    assert (hung_up.status_code, refused.status_code) == (200, 404)


async def test_the_token_is_credential_enough_and_nothing_else_is() -> None:
    async with running_edge(api_keys=["secret"]) as edge:
        async with calling(edge, Authorization="Bearer secret") as (_, answer), calling(edge, **resuming(answer)):
            pass
        async with Caller() as stranger:
            assert (await dial(edge, stranger)).status_code == 401
