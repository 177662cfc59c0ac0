"""Clients that are hostile or clumsy: each gets a clear answer, and nobody else notices."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from aiortc import rtp
from aiortc.rtp import RtpPacket
from starlette.websockets import WebSocket, WebSocketState
from websockets.asyncio.client import connect

from edge_client.conversation import MOST_CHARACTERS, MOST_ITEMS, Conversation, MessageItem, SpokenText
from edge_client.device.arguments import MOST_FIELDS, plan_arguments
from edge_client.device.clauses import clauses
from edge_client.device.results import say_result
from edge_client.ears import Ears
from edge_client.endpointer import EndpointerSettings
from edge_client.models.thread import ModelThread
from edge_client.realtime import program, server
from edge_client.realtime.session_config import MAXIMUM_SESSION_BYTES, SessionConfig
from edge_client.realtime.socket import MAXIMUM_CHARACTERS, MAXIMUM_EVENTS, Outbox, serve_socket
from edge_client.settings import EdgeSettings, read_settings
from edge_client.webrtc.gate import MOST_SENDERS
from edge_client.webrtc.ice import LONGEST_QUEUE
from edge_client.webrtc.peer import Peer
from edge_client.workers import listening
from routing.errors import InvalidRequest, SettingsError
from routing.turns import Tool
from tests.bystander import bystander
from tests.edge import EdgeProcess, RunningEdge, running_edge, scripted_edge
from tests.peers import Caller as PeerCaller
from tests.scripted import LoudnessDetector, ScriptedBackend, say
from tests.test_realtime_socket import Client, connected
from tests.test_webrtc_peer import answer, call

type Json = dict[str, Any]

# -- sessions that are asked for ---------------------------------------------------------------------------------------


def nested(levels: int) -> Json:
    return {"x": nested(levels - 1)} if levels else {}


UNUSABLE: dict[str, Json] = {
    "no tool": {"tools": [None]},
    "a number for a tool": {"tools": [5]},
    "a list for a tool": {"tools": [[]]},
    "no number": {"x": float("nan")},
    "endless": {"x": float("inf")},
    "half a character": {"x": "\ud800"},
    "deep": nested(300),
    "deeper": nested(900),
    "large": {"instructions": "x" * MAXIMUM_SESSION_BYTES},
    "many tools": {"tools": [{"type": "function", "name": f"tool_{n}"} for n in range(20_000)]},
}


@pytest.mark.parametrize("fault", UNUSABLE)
def test_settings_that_could_not_be_shown_are_refused(fault: str) -> None:
    with pytest.raises(InvalidRequest, match="expected"):
        SessionConfig().updated(UNUSABLE[fault])


def test_settings_do_not_grow_by_small_changes() -> None:
    config = SessionConfig()
    with pytest.raises(InvalidRequest, match=f"at most {MAXIMUM_SESSION_BYTES} bytes"):
        for number in range(100):
            config = config.updated({f"extra_{number}": "x" * 10_000})


@pytest.mark.parametrize("fault", [fault for fault in UNUSABLE if "large" not in fault and "many" not in fault])
async def test_a_client_secret_for_a_session_that_cannot_be_is_refused(fault: str) -> None:
    body = json.dumps({"session": UNUSABLE[fault]})
    async with running_edge() as edge, httpx.AsyncClient(base_url=edge.url) as client:
        kind = {"content-type": "application/json"}
        answer = await client.post("/v1/realtime/client_secrets", content=body, headers=kind)
    assert answer.status_code == 400
    assert "expected" in answer.json()["error"]["message"]


# -- bodies ------------------------------------------------------------------------------------------------------------

HEAD = (
    b"POST /v1/realtime/calls HTTP/1.1\r\nhost: localhost\r\n"
    b"content-type: application/sdp\r\ncontent-length: %d\r\n\r\n"
)


@pytest.mark.parametrize("length", [300, 1_000_000])
async def test_a_body_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, nothing_left_behind: None, length: int
) -> None:
    monkeypatch.setattr(server, "MAXIMUM_BODY_SEC", 0.2)
    async with running_edge() as edge:
        reader, writer = await dial(edge)
        writer.write(HEAD % length + b"v=0")
        answer = (await reader.read()).decode()  # to the end: the edge hangs up
        writer.close()
    assert ("408" if length == 300 else "413") in answer.splitlines()[0]
    assert "expected" in answer


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_error_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running_edge() as edge:
        _, writer = await dial(edge)
        writer.write(HEAD % 300 + b"v=0")
        await writer.drain()
        async with httpx.AsyncClient(base_url=edge.url) as client:
            await client.get("/healthz")  # by now the head has been read
            writer.close()
            await client.get("/healthz")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def dial(edge: RunningEdge) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(edge.url.rpartition(":")[2]))


# -- sockets -----------------------------------------------------------------------------------------------------------


class Flood(WebSocket):
    """A connection on which messages come faster than they are read, until it breaks."""

    def __init__(self, messages: int) -> None:
        self._messages = messages

    async def receive(self) -> Json:
        self._messages -= 1
        if self._messages < 0:
            return {"type": "websocket.disconnect", "code": 1006}
        return {"type": "websocket.receive", "text": "{}"}

    async def send_text(self, data: str) -> None:
        pass


async def test_a_flood_of_messages_leaves_the_others_their_turn() -> None:
    async with running_edge() as edge, bystander() as other:
        await serve_socket(Flood(300), edge.edge, SessionConfig())
    assert other.turns >= 300


async def test_a_client_that_is_gone_before_it_is_told_to_go_is_no_error_of_ours() -> None:
    async def receive() -> Json:
        return {"type": "websocket.receive", "text": "{}"}

    async def send(message: Json) -> None:
        if message["type"] == "websocket.send":
            raise ConnectionResetError

    websocket = WebSocket({"type": "websocket"}, receive, send)  # type: ignore[arg-type]
    websocket.client_state = websocket.application_state = WebSocketState.CONNECTED
    async with running_edge(limits={"events_per_sec": 0.0}) as edge:
        await serve_socket(websocket, edge.edge, SessionConfig())


def test_what_a_client_does_not_read_is_bounded_in_number_and_in_size() -> None:
    many, large = Outbox(), Outbox()
    for _ in range(MAXIMUM_EVENTS + 1):
        many.put({})
    large.put({"text": "x" * MAXIMUM_CHARACTERS})
    assert many.overflowing
    assert large.overflowing


async def test_what_was_read_makes_room() -> None:
    outbox = Outbox()
    outbox.put({"text": "x" * MAXIMUM_CHARACTERS})
    await outbox.get()
    assert not outbox.overflowing


async def test_a_caller_among_hostile_ones_is_answered(nothing_left_behind: None) -> None:
    backend = ScriptedBackend(say("quite well, thank you", seconds=0.1))
    async with (
        running_edge(backend) as edge,
        connect(edge.socket_url) as deaf,
        connect(edge.socket_url) as mad,
    ):
        deaf.transport.pause_reading()
        for number in range(300):
            await deaf.send("[]")
            await mad.send(b"\xff" if number % 2 else "[" * 10_000)
        async with connected(edge) as caller:
            await caller.type("how are you?")
            done = await caller.event("response.output_audio_transcript.done")
        await answered(Client(mad))
        deaf.transport.abort()
    assert done["transcript"] == "quite well, thank you"


async def answered(client: Client) -> None:
    """Whatever was done to it, the session still answers."""
    await client.send("conversation.item.create", item={"type": "function_call_output", "call_id": "x", "output": ""})
    await client.send("response.create")
    await client.event("response.done")


# -- calls over WebRTC -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def answered_offer() -> AsyncIterator[Peer]:
    """A call that was answered, and whose caller does nothing yet."""
    async with PeerCaller() as caller:
        peer = await answer(await caller.offer())
        yield peer
        await peer.close()


def door(peer: Peer) -> int:
    """The port that the answer names."""
    port: int = peer._ice.sockets[0].local_candidate.port
    return port


STRANGE_DATAGRAMS = {
    "noise": b"junk" * 250,
    "handshake": b"\x16\xfe\xfd" + bytes(900),
    "sound": b"\x80\x6f" + bytes(900),
    "check": b"\x00\x01" + bytes(900),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", STRANGE_DATAGRAMS)
async def test_what_strangers_send_before_the_handshake_is_not_kept(nothing_left_behind: None, kind: str) -> None:
    async with answered_offer() as peer:
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.setblocking(False)
            for _ in range(200):
                for _ in range(50):
                    stranger.sendto(STRANGE_DATAGRAMS[kind], ("127.0.0.1", door(peer)))
                for _ in range(60):  # the loop takes one datagram at a time
                    await asyncio.sleep(0)
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peer.statistics().dropped_datagrams > 9000
    assert after - before < 256 * 1024  # 10 000 of them are 10 MB


@pytest.mark.slow
async def test_a_message_without_an_end_costs_its_sender_the_call_and_nobody_else(nothing_left_behind: None) -> None:
    async with call() as victim, call() as hostile:
        await hostile.caller.opened()
        assert hostile.caller.channel
        association = hostile.caller.connection.sctp
        assert association
        association._remote_max_message_size = 0  # "any size", whatever the edge said
        hostile.caller.channel.send("x" * 8_000_000)
        assert await hostile.running == "closed"
        heard = len(victim.notes.blocks)
        await victim.notes.until(lambda: len(victim.notes.blocks) > heard + 10)
        assert not victim.running.done()


@pytest.mark.slow
async def test_a_caller_who_is_a_thousand_senders_is_heard_as_a_few(nothing_left_behind: None) -> None:
    async with call() as (caller, peer, notes, _, running):
        await notes.until(lambda: len(notes.blocks) > 5)
        handshake = caller.connection.getTransceivers()[0].sender.transport
        for number in range(1000):
            packet = RtpPacket(payload_type=96, ssrc=1_000_000 + number, payload=b"\xf8\xff\xfe")
            await handshake._send_rtp(packet.serialize(rtp.HeaderExtensionsMap()))
            await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        theirs = peer._transceiver.receiver.transport
        assert len(theirs._rtp_router.ssrc_table) <= MOST_SENDERS + LONGEST_QUEUE
        heard = len(notes.blocks)
        await notes.until(lambda: len(notes.blocks) > heard + 10)  # who was known before is heard as before
        assert not running.done()


@pytest.mark.slow
async def test_a_caller_who_sends_without_pause_is_taken_at_the_rate_of_a_caller(nothing_left_behind: None) -> None:
    async with call() as (caller, peer, notes, _, running):
        await notes.until(lambda: len(notes.blocks) > 5)
        transport = caller.connection.getTransceivers()[0].sender.transport.transport
        for _ in range(5000):
            await transport._send(b"\x80\x6f" + bytes(60))  # nothing that could be decrypted
            await asyncio.sleep(0)
        assert peer.statistics().dropped_datagrams > 3000
        heard = len(notes.blocks)
        await notes.until(lambda: len(notes.blocks) > heard + 3)
        assert not running.done()


# -- what is sent in masses --------------------------------------------------------------------------------------------


async def test_empty_sound_is_not_kept() -> None:
    thread = ModelThread("loudness")
    with closing(thread):
        ears = Ears(detector=LoudnessDetector(), thread=thread, settings=EndpointerSettings())
        for _ in range(1000):
            ears.hear(np.zeros(0, np.float32))
        assert not ears._inbox


def test_a_conversation_forgets_its_oldest_items() -> None:
    conversation = Conversation()
    for number in range(MOST_ITEMS + 2):
        conversation.add(message(f"item_{number}", "hello"))
    assert conversation.get("item_1") is None
    assert conversation.get("item_2")
    assert len(conversation.history()) == MOST_ITEMS


def test_a_conversation_holds_so_many_characters() -> None:
    conversation = Conversation()
    for number in range(5):
        conversation.add(message(f"item_{number}", "x" * (MOST_CHARACTERS // 3)))
    assert [conversation.get(f"item_{number}") is not None for number in range(5)] == [
        False,
        False,
        True,
        True,
        True,
    ]


def message(item_id: str, text: str) -> MessageItem:
    return MessageItem(id=item_id, role="user", medium="text", pieces=[SpokenText(text)])


# -- tools -------------------------------------------------------------------------------------------------------------

BRANCHES = {"type": "object", "properties": {f"branch_{n}": {"$ref": "#/$defs/Tree"} for n in range(40)}}
ENDLESS: dict[str, Json] = {
    "a tree of itself": BRANCHES | {"$defs": {"Tree": BRANCHES}},
    "a list of itself": {
        "properties": {"list": {"$ref": "#/$defs/List"}},
        "required": ["list"],
        "$defs": {
            "List": {
                "type": "array",
                "items": {"type": "object", "properties": {"next": {"$ref": "#/$defs/List"}}},
            }
        },
    },
    "a name of itself": {
        "properties": {"name": {"$ref": "#/$defs/Name"}},
        "required": ["name"],
        "$defs": {"Name": {"$ref": "#/$defs/Name"}},
    },
    "a thousand fields": {"properties": {f"field_{n}": {"type": "string"} for n in range(1000)}},
    "a thousand options": {"properties": {"color": {"enum": [f"shade_{n}" for n in range(100_000)]}}},
    "required of the wrong kind": {"properties": {"a": {"type": "string"}}, "required": [["a"], {}, 5]},
}


@pytest.mark.parametrize("schema", ENDLESS)
def test_a_tool_whose_arguments_have_no_end_is_filled_in_all_the_same(schema: str) -> None:
    tool = Tool("get_weather", "Get the weather", ENDLESS[schema])
    plan = plan_arguments(tool, "what is the weather in Paris").plan
    assert isinstance(plan, dict)
    assert len(plan) <= MOST_FIELDS


@pytest.mark.parametrize(
    "output",
    ["x" * 1_000_000, "Hello there. " * 80_000, json.dumps(list(range(100_000))), "9" * 4000, "1e308", "-1e999",
     '{"temperature": ' + "9" * 4000 + "}", '{"answer":' * 900 + "1" + "}" * 900, "[" * 100_000],
)  # fmt: skip
def test_of_a_result_without_end_the_beginning_is_said(output: str) -> None:
    said = say_result(output)
    assert 0 < len(said) <= 1001


def test_a_long_text_is_cut_into_clauses_in_one_pass() -> None:
    text = "on and on " * 50_000
    assert "".join(clauses(text)) == text


# -- the program -------------------------------------------------------------------------------------------------------


async def test_a_page_keeps_its_connection_until_its_caller_dials() -> None:
    """A new one costs a round trip, or three with TLS, and a person looks at a page for longer than a few seconds."""
    async with scripted_edge() as edge:
        assert program.server_config(server.create_app(edge)).timeout_keep_alive >= 60


def test_of_two_edges_that_start_at_once_on_one_port_the_second_says_why_it_cannot() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        settings = EdgeSettings(port=free.getsockname()[1])
    with listening.bound_socket(settings) as first, listening.bound_socket(settings) as second:
        listening.listen(settings, first)
        with pytest.raises(SettingsError, match="Address already in use"):
            listening.listen(settings, second)


def test_a_file_of_other_bytes_is_no_settings(tmp_path: Path) -> None:
    file = tmp_path / "edge.yaml"
    file.write_bytes(b"\xec\xff\x00")
    with pytest.raises(SettingsError, match=r"edge\.yaml"):
        read_settings(file, environment={})


@pytest.mark.parametrize(
    "environment",
    [
        {"ANTIPHON_PEER": "x", "ANTIPHON_PEER__LOOPBACK": "1"},
        {"ANTIPHON_PORT": "1", "ANTIPHON_PORT__NUMBER": "1"},
        {"ANTIPHON_PEER": "x"},
    ],
)
def test_a_part_that_is_set_as_a_whole_is_refused(tmp_path: Path, environment: dict[str, str]) -> None:
    file = tmp_path / "edge.yaml"
    file.write_text("peer: {loopback: true}")
    with pytest.raises(SettingsError, match=r"(?i)peer|port"):
        read_settings(file, environment=environment)


# -- the models --------------------------------------------------------------------------------------------------------

STRANGE = [
    "\x00\x01 hello \x1b[31m",
    "👩‍👩‍👧‍👦 👍 how are you",
    "مرحبا كيف حالك",
    "\u202e\u200b\ufeff",
    "-" * 5000,
    "hello world " * 80_000,
]


@pytest.mark.models
@pytest.mark.timeout(120)  # the first of them starts the edge
@pytest.mark.parametrize("text", STRANGE, ids=["control", "emoji", "arabic", "invisible", "dashes", "megabyte"])
async def test_strange_words_are_answered_aloud(edge_process: EdgeProcess, text: str) -> None:
    url = edge_process.url.replace("http", "ws", 1) + "/v1/realtime"
    async with connect(url, max_size=None) as connection:
        client = Client(connection)
        await client.type(text)
        done = await client.event("response.done")
    assert done["response"]["status"] == "completed"
    assert any(event["type"] == "response.output_audio.delta" for event in client.events)
