"""A real call to an edge: sound comes and a question is answered, or the ways that were tried are told."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from aiortc import RTCConfiguration
from aiortc.rtcconfiguration import RTCIceTransportPolicy

from edge_client.caller.question import Question
from edge_client.doctor.call import look_at_call, look_at_turn
from edge_client.tone import ToneBackend
from edge_client.webrtc.peer import PeerSettings
from tests.edge import running_edge
from tests.otlp_sink import nobody_listens
from tests.scripted import tone
from tests.turn_server import turn_server

KEY = "a key of some length"


async def test_sound_comes_over_a_call_in_which_nobody_speaks() -> None:
    async with running_edge(ToneBackend(), peer=PeerSettings(loopback=True)) as edge:
        [found] = await look_at_call(edge.url, key=None)
    assert found.verdict == "ok"
    assert found.found.startswith("connected directly in ")


@pytest.mark.turn
@pytest.mark.timeout(60)
async def test_a_call_goes_over_a_relay_where_nothing_else_leads_to_the_edge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_relays = partial(RTCConfiguration, iceTransportPolicy=RTCIceTransportPolicy.RELAY)
    monkeypatch.setattr("edge_client.caller.line.RTCConfiguration", only_relays)
    async with (
        turn_server(tmp_path) as coturn,
        running_edge(ToneBackend(), peer=PeerSettings(loopback=True, turn=coturn.settings())) as edge,
    ):
        [found] = await look_at_call(edge.url, key=None)
    assert found.verdict == "ok", found.line
    assert found.found.startswith("connected over a relay in ")


async def test_a_key_that_is_not_taken_is_told() -> None:
    async with running_edge(api_keys=(KEY,)) as edge:
        [found] = await look_at_call(edge.url, key="another")
        [unasked] = await look_at_call(edge.url, key=None)
    assert (found.verdict, "--key" in found.advice) == ("fault", True)
    assert (unasked.verdict, unasked.found) == ("skipped", "it asks for a key")


async def test_a_full_edge_is_told() -> None:
    async with running_edge(maximum_sessions=1) as edge:
        with edge.edge.place():
            [found] = await look_at_call(edge.url, key=None)
    assert (found.verdict, "full" in found.advice) == ("fault", True)


async def test_nobody_there_is_a_fault() -> None:
    with nobody_listens() as url:
        [found] = await look_at_call(url, key=None)
    assert (found.verdict, found.advice) == ("fault", "See that it runs, and that its address is right.")


async def test_an_edge_that_cannot_be_reached_by_udp_is_told_with_the_ways_that_were_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge_client.caller.line.CONNECT_TIMEOUT_SEC", 0.1)
    monkeypatch.setattr("edge_client.webrtc.ice.Gate.admits", lambda *arguments, **named: False)
    async with running_edge(ToneBackend(), peer=PeerSettings(loopback=True)) as edge:
        [found] = await look_at_call(edge.url, key=None)
    assert found.verdict == "fault"
    assert "(host): no answer" in found.found
    assert "peer.turn" in found.advice


@pytest.mark.slow
async def test_a_question_is_answered_and_its_wait_is_told() -> None:
    async with running_edge(ToneBackend(), peer=PeerSettings(loopback=True)) as edge:
        [found] = await look_at_turn(edge.url, key=None, question=Question("hm", tone(0.4)))
    assert found.about == "spoken turn"
    assert found.verdict in {"ok", "warning"}, found.line  # a busy machine may be slow
    assert "from voice to voice" in found.found
