"""Sessions that an edge lets go: their callers go on with them at another one. Two real edges, real peers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import pytest
import websockets

from edge_client.caller.client import WATCH_SEC, Caller
from edge_client.network.emulated import emulate
from edge_client.network.profile import Cut, NetworkProfile
from routing.errors import BackendUnavailable
from routing.turns import Message, Samples
from tests.edge import RunningEdge
from tests.front import house
from tests.scripted import tone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]  # real peers, in real time

type Json = dict[str, Any]


def question() -> Samples:
    return np.concatenate((np.zeros(4800, np.float32), tone(0.5), np.zeros(2400, np.float32)))


async def moved(call: Caller) -> None:
    async with asyncio.timeout(30):
        while not call.moves_sec:
            await asyncio.sleep(0.02)


def said(events: list[Json]) -> list[str]:
    """What was answered."""
    return [event["transcript"] for event in events if event["type"] == "response.output_audio_transcript.done"]


async def empty(edge: RunningEdge) -> None:
    async with asyncio.timeout(20):
        while edge.edge.sessions:
            await asyncio.sleep(0.02)


async def test_callers_move_side_by_side(nothing_left_behind: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with edges of its own, for most of each story is waiting."""
    monkeypatch.setattr("edge_client.caller.client.ANEW_SEC", 6.0)  # to ask, where nobody is left
    async with asyncio.TaskGroup() as stories:
        for story in (
            a_caller_goes_on_elsewhere_with_all_that_was_said,
            what_is_said_while_a_caller_moves_is_answered_where_it_is_heard,
            a_caller_whose_server_ends_too_early_talks_on_with_the_next,
            a_client_that_knows_no_tickets_is_let_go_with_1012,
        ):
            stories.create_task(story())


async def a_caller_goes_on_elsewhere_with_all_that_was_said() -> None:
    events: list[Json] = []
    async with house() as both, Caller.connect(both.front.url, on_event=events.append) as call:
        await call.say(question())
        await call.reply()
        both.drain()
        await moved(call)
        async with asyncio.timeout(20):
            await both.old.edge.drain.over()
        assert (both.old.edge.sessions, both.new.edge.sessions) == (0, 1)
        await call.say(question())
        await call.reply()
    assert said(events) == ["first", "second"]
    (turn,) = both.answers.turns
    assert turn.history == (Message("user", "hello there"), Message("assistant", "first"))
    assert turn.index == 1
    ids = [event["session"]["id"] for event in events if event["type"] == "session.created"]
    assert ids == [turn.session_id] * 2


async def what_is_said_while_a_caller_moves_is_answered_where_it_is_heard() -> None:
    events: list[Json] = []
    async with house() as both, Caller.connect(both.front.url, on_event=events.append) as call:
        both.drain()
        await call.say(question())
        await call.reply()
        assert said(events) == ["first"]
        await moved(call)
        await call.say(question())
        await call.reply()
    assert said(events) == ["first", "second"]
    assert [len(turn.history) for turn in both.answers.turns] == [2]


@pytest.mark.hostile
async def test_a_line_that_stalls_while_its_edge_drains_may_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_client.caller.client.DOUBT_SEC", 0.6)
    told: list[str] = []
    async with (
        house() as both,
        Caller.connect(both.front.url, on_event=lambda event: told.append(event["type"])) as call,
    ):
        await call.say(question())
        assert await call.audible()
        both.drain()
        while "antiphon.server.draining" not in told:
            await asyncio.sleep(0.02)
        emulate(call.ice, NetworkProfile(name="stalling", cuts=(Cut(0.0, 2.0),)), seed=1)
        await moved(call)
        await call.say(question())
        await call.reply()
    assert [len(turn.history) for turn in both.answers.turns] == [2]


async def test_a_draining_edge_takes_nobody_new() -> None:
    async with house() as both, websockets.connect(both.old.socket_url):
        both.old.edge.drain.begin(20.0)
        async with httpx.AsyncClient(base_url=both.old.url) as client:
            ready, alive = await client.get("/readyz"), await client.get("/healthz")
            refused = await client.post(
                "/v1/realtime/calls", content="v=0", headers={"Content-Type": "application/sdp"}
            )
        with pytest.raises(websockets.InvalidStatus) as denied:
            async with websockets.connect(both.old.socket_url):
                pass
    assert (ready.status_code, ready.json()["status"]) == (503, "draining")
    assert (alive.status_code, alive.headers["connection"]) == (200, "close")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    told = denied.value.response
    assert (told.status_code, told.headers["retry-after"]) == (503, "1")


# -- tickets -----------------------------------------------------------------------------------------------------------


class Socket:
    """A client that sends and hears JSON."""

    def __init__(self, connection: websockets.ClientConnection) -> None:
        self._connection = connection

    async def send(self, **event: Any) -> None:
        await self._connection.send(json.dumps(event))

    async def event(self, kind: str) -> Json:
        while (event := json.loads(await self._connection.recv()))["type"] != kind:
            pass
        return dict(event)

    async def text(self, text: str) -> str:
        """Say something in writing; returns the answer."""
        content = [{"type": "input_text", "text": text}]
        await self.send(type="conversation.item.create", item={"type": "message", "role": "user", "content": content})
        await self.send(type="response.create", response={"output_modalities": ["text"]})
        done = await self.event("response.done")
        return str(done["response"]["output"][0]["content"][0]["text"])

    async def restored(self, ticket: str) -> Json:
        """Go on with the session of a ticket; returns what it is like."""
        await self.send(type="antiphon.session.restore", ticket=ticket)
        _, created = [await self.event("session.created") for _ in range(2)]
        return dict(created["session"])

    async def close_code(self) -> int | None:
        await self._connection.wait_closed()
        return self._connection.close_code


@asynccontextmanager
async def visiting(edge: RunningEdge) -> AsyncIterator[Socket]:
    async with asyncio.timeout(30), websockets.connect(edge.socket_url) as connection:
        yield Socket(connection)


async def test_a_socket_goes_on_with_a_ticket_once(nothing_left_behind: None) -> None:
    async with house() as both:
        async with visiting(both.old) as client:
            created = await client.event("session.created")
            await client.send(type="session.update", session={"type": "realtime", "instructions": "be kind"})
            assert await client.text("hello") == "first"
            both.drain()
            draining = await client.event("antiphon.server.draining")
            ticket = (await client.event("antiphon.session.ticket"))["ticket"]
        async with visiting(both.new) as client:
            await client.send(type="antiphon.session.restore", ticket=ticket)
            fresh, restored = [await client.event("session.created") for _ in range(2)]
            assert await client.text("and now?") == "second"
        async with visiting(both.new) as client:
            await client.send(type="antiphon.session.restore", ticket=ticket, event_id="again")
            refused = await client.event("error")
            assert await client.text("then as a stranger") == "second"
    assert draining["deadline_ms"] > 0
    assert fresh["session"]["id"] != restored["session"]["id"] == created["session"]["id"]
    assert restored["session"]["instructions"] == "be kind"
    known, stranger = both.answers.turns
    assert known.history[:2] == (Message("user", "hello"), Message("assistant", "first"))
    assert len(stranger.history) == 1
    assert (refused["error"]["code"], refused["error"]["event_id"]) == ("invalid_ticket", "again")
    assert "that was not used, got one that was" in refused["error"]["message"]


async def test_who_got_several_tickets_has_one_session_all_the_same(nothing_left_behind: None) -> None:
    async with house() as both, visiting(both.old) as client:
        await client.event("session.created")
        both.drain()
        tickets = [(await client.event("antiphon.session.ticket"))["ticket"]]
        await client.send(type="session.update", session={"type": "realtime", "instructions": "be kind"})
        tickets.append((await client.event("antiphon.session.ticket"))["ticket"])
        lasted = [both.new.edge.tickets.read(ticket, now=time.time()).lasted_sec for ticket in tickets]
        async with visiting(both.new) as first, visiting(both.new) as second:
            restored = [
                await visitor.restored(ticket) for visitor, ticket in zip((first, second), tickets, strict=True)
            ]
            assert await first.close_code() == 1012
            assert [each["instructions"] for each in restored] == ["", "be kind"]
            assert await second.text("hello") == "second"
            both.new.edge.drain.begin(20.0)
            tickets.append((await second.event("antiphon.session.ticket"))["ticket"])
        serials = [both.new.edge.tickets.read(ticket, now=time.time()).serial for ticket in tickets]
    assert serials == [1, 2, 3]  # each voids those before it, wherever they were written
    assert 0 < lasted[0] < lasted[1]  # so that going elsewhere makes no session longer than it may be


async def test_a_ticket_later_than_first_is_refused() -> None:
    async with house() as both, visiting(both.old) as client:
        await client.send(type="input_audio_buffer.clear")
        await client.send(type="antiphon.session.restore", ticket="any")
        refused = await client.event("error")
    assert refused["error"]["message"] == "expected a ticket first of all on a WebSocket, got one here"


@pytest.mark.parametrize(("ticket", "status"), [("nonsense", 401), ("", 400)])
async def test_an_offer_with_a_bad_ticket_costs_no_place(ticket: str, status: int) -> None:
    async with house() as both, httpx.AsyncClient(base_url=both.new.url) as client:
        answer = await client.post("/v1/realtime/calls", files={"sdp": (None, "v=0"), "ticket": (None, ticket)})
        assert both.new.edge.sessions == 0
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def a_client_that_knows_no_tickets_is_let_go_with_1012() -> None:
    async with house() as both, visiting(both.old) as client:
        await client.event("session.created")
        both.drain(0.5)
        assert await client.close_code() == 1012
        await empty(both.old)


async def a_caller_whose_server_ends_too_early_talks_on_with_the_next() -> None:
    events: list[Json] = []
    async with house() as both, Caller.connect(both.front.url, on_event=events.append) as call:
        both.drain(0.01)  # no time for any ticket
        both.front.edges = []  # and nobody in its place yet
        await empty(both.old)
        await asyncio.sleep(WATCH_SEC)
        both.front.edges = [both.new.url]
        await moved(call)
        await call.say(question())
        await call.reply()
        assert said(events) == ["second"]
        assert both.answers.turns[0].history == ()
        with pytest.raises(BackendUnavailable):
            both.front.edges = []
            both.new.edge.drain.begin(0.01)
            await call.stay(30)
