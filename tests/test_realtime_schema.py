"""Every server event is valid in the schemas of both SDKs, where a malformed event is a missing or a fatal one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeAliasType, get_args

import numpy as np
import pytest

from edge_client.conversation import Item, MessageItem, SpokenText, ToolCallItem, ToolResultItem
from edge_client.hearing import Hearing
from edge_client.models.thread import ModelThread
from edge_client.mouth import PacedMouth
from edge_client.realtime.dialogue import Dialogue, Sound
from edge_client.realtime.edge import Edge
from edge_client.realtime.passage import Passage
from edge_client.realtime.session_config import SessionConfig
from edge_client.session_events import (
    ItemTruncated,
    PlayoutCleared,
    PlayoutStarted,
    PlayoutStopped,
    ReplyAudio,
    ReplyDone,
    ReplyItemDone,
    ReplyItemStarted,
    ReplyStarted,
    ReplyText,
    ReplyToolCall,
    SessionEvent,
    TurnReport,
    TurnTraced,
    UserCommitted,
    UserHeard,
    UserStarted,
    UserStopped,
)
from edge_client.settings import EdgeSettings
from routing.turns import Placement, ToolCall, ToolResult
from tests.diary import Event
from tests.schema import faults_in_javascript, faults_in_python
from tests.scripted import LoudnessDetector, ScriptedBackend, ScriptedJudge

REPORT = TurnReport(3, "turn_1", {"ttfa": 12.5}, Placement("device", "only backend"), "complete")

# As `openai-agents` and `@openai/agents-realtime` send them when they connect.
SESSION_UPDATES: tuple[dict[str, Any], ...] = (
    {
        "type": "realtime",
        "model": "gpt-realtime-2.1",
        "output_modalities": ["audio"],
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "noise_reduction": None,
                "transcription": {"model": "gpt-4o-mini-transcribe"},
                "turn_detection": {"type": "semantic_vad"},
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "speed": 1},
        },
        "tools": [{"type": "function", "name": "look", "description": "Look.", "parameters": {}}],
    },
    {"type": "realtime", "tracing": "auto"},
    {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 0.6}}}},
    {"type": "realtime", "audio": {"input": {"turn_detection": None, "format": {"type": "audio/pcmu"}}}},
    {"type": "realtime", "tool_choice": {"type": "function", "name": "look"}, "output_modalities": ["text"]},
)
CLIENT_EVENTS: tuple[dict[str, Any], ...] = (
    *({"type": "session.update", "session": session} for session in SESSION_UPDATES),
    {"type": "input_audio_buffer.clear"},
    *(
        {"type": "conversation.item.create", "item": item}
        for item in (
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello."}]},
            {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be brief."}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes?"}]},
            {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "nothing"},
        )
    ),
    *({"type": "conversation.item.retrieve", "item_id": item_id} for item_id in ("heard", "told", "written")),
    {"type": "conversation.item.truncate", "item_id": "told", "content_index": 0, "audio_end_ms": 500},
    {"type": "conversation.item.retrieve", "item_id": "told"},
    {"type": "conversation.item.delete", "item_id": "told"},
    {"type": "response.cancel", "event_id": "mine"},
    {"type": "no such event"},
)


def items() -> Iterator[Item]:
    yield MessageItem(id="unheard", role="user", medium="audio")
    yield MessageItem(id="heard", role="user", medium="audio", pieces=[SpokenText("Hello.")])
    yield MessageItem(id="begun", role="assistant", medium="audio", status="in_progress")
    yield MessageItem(id="told", role="assistant", medium="audio", pieces=[SpokenText("Hi.")], samples=24_000)
    yield MessageItem(id="cut", role="assistant", medium="audio", status="incomplete", pieces=[SpokenText("H")])
    yield MessageItem(id="written", role="assistant", medium="text", pieces=[SpokenText("Hi.")])
    yield ToolCallItem(id="call", call=ToolCall("call_1", "look", "{}"))
    yield ToolResultItem(id="result", result=ToolResult("call_1", "nothing"))


def session_events(known: dict[str, Any]) -> Iterator[SessionEvent]:
    """Each kind at least once, and each again that looks different on another item."""
    yield UserStarted("heard", 320)
    yield UserHeard("heard", "Hello there you", False, 0.8)
    yield UserStopped("heard", 1440)
    yield UserCommitted(known["unheard"], None)
    yield UserCommitted(known["heard"], "unheard")
    yield UserHeard("heard", "Hello.", True, 1.1)
    yield ReplyStarted("resp_1")
    for name in ("begun", "told", "cut", "written"):
        yield ReplyItemStarted("resp_1", 0, known[name])
        yield ReplyText("resp_1", 0, known[name], "Hi.")
        yield ReplyAudio("resp_1", 0, known[name], np.zeros(480, np.float32))
        yield ReplyItemDone("resp_1", 0, known[name])
    yield ReplyToolCall("resp_1", 1, known["call"], "told")
    yield ReplyDone("resp_1", "completed", (known["told"], known["written"], known["call"]), REPORT)
    yield ReplyDone("resp_2", "cancelled", (known["cut"],), REPORT, cut_reason="turn_detected")
    yield ReplyDone("resp_3", "cancelled", (), TurnReport(4, "turn_2"), cut_reason="client_cancelled")
    yield ReplyDone("resp_4", "failed", (), TurnReport(5, "turn_3"), error="out of words")
    yield PlayoutStarted("resp_1")
    yield PlayoutStopped("resp_1")
    yield PlayoutCleared("resp_1")
    yield ItemTruncated("told", 400)
    yield TurnTraced("turn_1", "0af7651916cd43dd8448eb211c80319c", 1_000, ())


@pytest.fixture(params=get_args(Sound.__value__))
async def server_events(request: pytest.FixtureRequest) -> list[Event]:
    """Everything the server can say over one of the two ways that sound travels to whoever asks for nothing of ours."""
    said: list[Event] = []
    async with silent_conversation(request.param, said.append) as dialogue:
        dialogue.greet()
        for item in items():
            dialogue.session.conversation.add(item)
        for event in session_events({item.id: item for item in items()}):
            dialogue.emit(event)
        for client_event in CLIENT_EVENTS:
            dialogue.receive(json.dumps(client_event))
    return [event for event in said if event["type"] != "antiphon.turn.traced"]  # no SDK has reported a turn


@asynccontextmanager
async def silent_conversation(sound: Sound, send: Callable[[Event], None]) -> AsyncIterator[Dialogue]:
    """One in which nobody speaks and nothing is answered."""
    thread = ModelThread("detector")
    edge = Edge(
        settings=EdgeSettings(),
        hearing=Hearing(LoudnessDetector, thread, ScriptedJudge()),
        backend=ScriptedBackend(),
    )
    async with edge.conversation(
        Passage(session_id="sess_1", config=SessionConfig()),
        mouth=PacedMouth(),
        sound=sound,
        send=send,
        let_go=lambda: None,
    ) as dialogue:
        yield dialogue
    thread.close()


def test_every_session_event_is_told() -> None:
    told = {type(event) for event in session_events({item.id: item for item in items()})}
    assert told == set(members(SessionEvent))


def members(kind: Any) -> Iterator[type]:
    """The classes of a union, and of the unions in it."""
    if isinstance(kind, TypeAliasType):
        for part in get_args(kind.__value__):
            yield from members(part)
    else:
        yield kind


async def test_nothing_was_refused_but_what_had_to_be(server_events: list[Event]) -> None:
    refused = [event["error"]["code"] for event in server_events if event["type"] == "error"]
    assert refused == ["response_cancel_not_active", "unknown_event"]


async def test_valid_for_python(server_events: list[Event]) -> None:
    assert faults_in_python(server_events) == []


@pytest.mark.node
async def test_valid_for_javascript(server_events: list[Event]) -> None:
    assert await faults_in_javascript(server_events) == []


@pytest.mark.node
async def test_malformed_events_are_noticed() -> None:
    heard = {"type": "message", "role": "user", "id": "item_1", "content": [{"type": "input_audio"}]}
    crash = {"type": "conversation.item.added", "event_id": "event_1", "item": heard}
    nameless = {"type": "input_audio_buffer.cleared"}
    assert [fault["event"] for fault in await faults_in_javascript([crash, nameless])] == [crash, nameless]
    assert len(faults_in_python([nameless, {"type": "antiphon.news", "event_id": "event_2"}])) == 2
