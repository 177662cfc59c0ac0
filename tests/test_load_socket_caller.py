"""A caller over WebSocket, against a real edge whose models are scripted, and against servers that are none."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve

from edge_client.load.socket_caller import SocketCaller, socket_url
from routing.errors import AtCapacity, BackendUnavailable, InvalidRequest
from tests.edge import running_edge
from tests.scripted import ScriptedBackend, say, tone

QUESTION = np.concatenate([tone(0.4), np.zeros(2400, np.float32)])


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/v1/realtime"),
        ("127.0.0.1:8080", "ws://127.0.0.1:8080/v1/realtime"),
        ("https://voice.example/v1/realtime/calls", "wss://voice.example/v1/realtime"),
        ("wss://voice.example/v1/realtime", "wss://voice.example/v1/realtime"),
        ("ws://voice.example/", "ws://voice.example/v1/realtime"),
    ],
)
def test_addresses_of_either_kind_lead_to_the_socket(url: str, address: str) -> None:
    assert socket_url(url) == address
    assert socket_url(url, model="gpt-realtime") == f"{address}?model=gpt-realtime"


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="expected an address"):
        socket_url("ftp://voice.example")


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_question_is_asked_in_real_time_and_the_answer_is_heard_out(nothing_left_behind: None) -> None:
    events: list[dict[str, Any]] = []
    backend = ScriptedBackend(say("hello you", seconds=0.6))
    async with running_edge(backend) as edge, SocketCaller.connect(edge.url, on_event=events.append) as caller:
        spoken = await caller.say(QUESTION)
        reply = await caller.reply(10)
        assert spoken.speech is not None
    assert spoken.speech.duration > 0.39
    assert reply.answer == "hello you"
    assert reply.latency.v2v_sec is not None
    assert reply.latency.reply_sec == pytest.approx(0.6, abs=0.02)
    assert reply.numbers.ttfa_ms is not None
    assert caller.connect_sec > 0
    assert "response.output_audio.delta" in {event["type"] for event in events}


async def test_a_full_edge_says_so_at_once(nothing_left_behind: None) -> None:
    async with running_edge(maximum_sessions=1) as edge, SocketCaller.connect(edge.url):
        with pytest.raises(AtCapacity):
            async with SocketCaller.connect(edge.url):
                pass


async def test_a_wrong_key_is_refused() -> None:
    async with running_edge(api_keys=("right-key-of-the-operator",)) as edge:
        with pytest.raises(InvalidRequest, match="not accepted"):
            async with SocketCaller.connect(edge.url, key="wrong"):
                pass


async def test_where_nobody_listens_there_is_no_call() -> None:
    with pytest.raises(BackendUnavailable, match="cannot be reached"):
        async with SocketCaller.connect("http://127.0.0.1:1"):
            pass


async def test_a_server_that_sends_nonsense_and_leaves_ends_the_call(nothing_left_behind: None) -> None:
    async def nonsense(connection: ServerConnection) -> None:
        for message in ("no JSON", "[]", '{"type": "response.output_audio.delta", "delta": "AAA"}', b"\xff"):
            await connection.send(message)

    async with serve(nonsense, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with SocketCaller.connect(f"http://127.0.0.1:{port}") as caller, asyncio.timeout(15):
            with pytest.raises(BackendUnavailable, match="ended the call"):
                await caller.stay(60)
