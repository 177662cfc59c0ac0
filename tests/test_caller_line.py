"""A call's connections: the network in between later on, and a call that outlives the line it began on."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from edge_client.caller.client import Caller
from edge_client.caller.line import Network, until
from edge_client.caller.packets import Packets
from edge_client.network.emulated import emulate
from edge_client.network.profile import Cut, NetworkProfile
from routing.errors import BackendUnavailable
from routing.turns import Message, Samples
from tests.edge import running_edge
from tests.scripted import ScriptedBackend, say, tone
from tests.virtual_time import on_virtual_time

CUT_TWICE = Network(NetworkProfile(name="n", cuts=(Cut(10.0, 5.0), Cut(30.0, 5.0))), seed=3)


def question() -> Samples:
    return np.concatenate((tone(0.5), np.zeros(2400, np.float32)))


@pytest.mark.parametrize(
    ("passed_sec", "cuts", "cut_sec"),
    [
        (4.0, (Cut(6.0, 5.0), Cut(26.0, 5.0)), 0.0),
        (12.0, (Cut(0.0, 3.0), Cut(18.0, 5.0)), 3.0),
        (15.0, (Cut(15.0, 5.0),), 0.0),
        (40.0, (), 0.0),
    ],
)
def test_a_later_connection_meets_what_is_left_of_the_network(
    passed_sec: float, cuts: tuple[Cut, ...], cut_sec: float
) -> None:
    later = CUT_TWICE.later(passed_sec)
    assert later.profile.cuts == cuts
    assert later.cut_sec == cut_sec
    assert later.seed != CUT_TWICE.seed


def test_packets_are_counted_over_all_lines() -> None:
    one, other = Packets(received=5, lost=2, recovered=1), Packets(received=3, lost=1, concealed=1)
    assert one + other == Packets(received=8, lost=3, recovered=1, concealed=1)
    assert (one + other) - other == one


@on_virtual_time
async def test_waiting_ends_with_the_call() -> None:
    assert await until(lambda: True, 0.0, is_over=lambda: True)
    assert not await until(lambda: False, 0.05, is_over=lambda: False)
    with pytest.raises(BackendUnavailable, match="has ended the call"):
        await until(lambda: False, None, is_over=lambda: True)


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_conversation_goes_on_over_another_line(
    monkeypatch: pytest.MonkeyPatch, nothing_left_behind: None
) -> None:
    monkeypatch.setattr("edge_client.caller.client.DOUBT_SEC", 0.6)
    backend = ScriptedBackend(say("noon", seconds=0.3, heard="what time is it"))
    events: list[str] = []
    async with (
        running_edge(backend, peer={"vanish_timeout_sec": 1.0, "suspect_timeout_sec": 0.7}) as edge,
        Caller.connect(edge.url, on_event=lambda event: events.append(event["event_id"])) as call,
    ):
        await call.say(question())
        await call.reply()
        emulate(call.ice, NetworkProfile(name="perfect"), seed=1).cut()
        while not call.resumed:
            await asyncio.sleep(0.05)
        await call.say(question())
        reply = await call.reply()
    assert reply.answer == "noon"
    assert reply.latency.v2v_sec is not None
    assert backend.turns[-1].history == (Message("user", "what time is it"), Message("assistant", "noon"))
    assert len(events) == len(set(events))
    assert call.resumed == 1
    assert call.packets().received > 100


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_call_that_the_edge_forgot_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_client.caller.client.DOUBT_SEC", 1.5)
    peer = {"vanish_timeout_sec": 0.4, "suspect_timeout_sec": 0.3, "resume_timeout_sec": 0.1}
    async with running_edge(peer=peer) as edge, Caller.connect(edge.url) as call:
        emulate(call.ice, NetworkProfile(name="perfect"), seed=1).cut()
        with pytest.raises(BackendUnavailable, match="has ended the call"):
            await call.say(np.concatenate((np.zeros(24_000 * 8, np.float32), question())))
