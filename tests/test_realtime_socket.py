"""Sessions over WebSocket, through a real client; only the models are scripted."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from edge_client.audio import float_to_mulaw, float_to_pcm16
from routing.turns import Heard, Message, ReplyEnd, ReplyEvent, Samples, TextDelta, ToolCall, Turn
from tests.edge import RunningEdge, running_edge
from tests.scripted import ScriptedBackend, say, tone

type Json = dict[str, Any]

SPEECH = np.concatenate([tone(0.6), np.zeros(24_000, np.float32)])
MANUAL = {"audio": {"input": {"turn_detection": None}}}


class Client:
    """A client of the protocol with nothing of its own: it sends events and waits for events."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.events: list[Json] = []

    async def send(self, type_: str, **fields: Any) -> None:
        await self._connection.send(json.dumps({"type": type_, **fields}))

    async def send_raw(self, message: str | bytes) -> None:
        await self._connection.send(message)

    async def say(self, samples: Samples) -> None:
        sound = base64.b64encode(float_to_pcm16(samples)).decode()
        await self.send("input_audio_buffer.append", audio=sound)

    async def type(self, text: str, **response: Any) -> None:
        content = [{"type": "input_text", "text": text}]
        await self.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        await self.send("response.create", response=response)

    def vanish(self) -> None:
        self._connection.transport.abort()

    async def event(self, type_: str) -> Json:
        async with asyncio.timeout(10):
            while True:
                event: Json = json.loads(await self._connection.recv())
                self.events.append(event)
                if event["type"] == type_:
                    return event

    async def events_of(self, type_: str, count: int) -> list[Json]:
        """The first ``count`` events of a type, whatever came between them."""
        while len(found := [event for event in self.events if event["type"] == type_]) < count:
            await self.event(type_)
        return found


@asynccontextmanager
async def connected(edge: RunningEdge, **session: Any) -> AsyncIterator[Client]:
    async with connect(edge.socket_url, max_size=None) as connection:
        client = Client(connection)
        await client.event("session.created")
        if session:
            await client.send("session.update", session={"type": "realtime", **session})
            await client.event("session.updated")
        yield client


async def test_a_spoken_turn_comes_back_as_sound(nothing_left_behind: None) -> None:
    async with running_edge(ScriptedBackend(say("hello you", seconds=1))) as edge, connected(edge) as client:
        await client.say(SPEECH)
        done = await client.event("response.done")
    deltas = [event["delta"] for event in client.events if event["type"] == "response.output_audio.delta"]
    sound = b"".join(base64.b64decode(delta) for delta in deltas)
    assert len(sound) == pytest.approx(2 * 24_000, abs=10)
    assert done["response"]["output"][0]["content"] == [{"type": "output_audio", "transcript": "hello you"}]
    placement = done["antiphon"]["turn"]["placement"]
    assert placement["backend"] == "scripted"
    assert placement["switches"] == []
    assert {"endpoint_wait", "ttfa"} <= done["antiphon"]["turn"]["timings_ms"].keys()
    assert not any(event["type"].startswith("output_audio_buffer") for event in client.events)


async def test_a_private_session_tells_only_the_device_and_says_so() -> None:
    backend = ScriptedBackend(say("hello you", seconds=0.2))
    async with running_edge(backend) as edge, connected(edge, antiphon={"privacy": "device_only"}) as client:
        await client.say(SPEECH)
        await client.event("response.done")
        await client.send("session.update", session={"type": "realtime", "antiphon": {"privacy": "any"}})
        updated = await client.event("session.updated")
        await client.say(SPEECH)
        await client.event("response.done")
        await client.send("response.create", response={"antiphon": {"privacy": "device_only"}})
        await client.event("response.done")
        await client.send("session.update", session={"type": "realtime", "antiphon": {"privacy": "secret"}})
        refused = await client.event("error")
    assert updated["session"]["antiphon"]["privacy"] == "any"
    assert [turn.privacy for turn in backend.turns] == ["device_only", "any", "device_only"]
    heard = Message("user", "hello there")
    assert [turn.history.count(heard) for turn in backend.turns] == [0, 0, 2]
    assert refused["error"]["param"] == "session.antiphon.privacy"
    assert "'secret'" in refused["error"]["message"]


async def test_an_edge_that_keeps_everything_lets_no_caller_say_otherwise() -> None:
    backend = ScriptedBackend(say("hello you", seconds=0.2))
    async with running_edge(backend, privacy="device_only") as edge, connected(edge) as client:
        await client.say(SPEECH)
        await client.event("response.done")
    assert [turn.privacy for turn in backend.turns] == ["device_only"]


async def test_telephone_sound_is_understood_and_spoken() -> None:
    telephone = {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcmu"}}}
    backend = ScriptedBackend(say("hello", seconds=1))
    async with running_edge(backend) as edge, connected(edge, audio=telephone) as client:
        sound = base64.b64encode(float_to_mulaw(SPEECH[::3])).decode()
        await client.send("input_audio_buffer.append", audio=sound)
        await client.event("response.done")
    deltas = [event["delta"] for event in client.events if event["type"] == "response.output_audio.delta"]
    assert sum(len(base64.b64decode(delta)) for delta in deltas) == pytest.approx(8_000, abs=2)


async def test_captions_grow_while_the_user_speaks() -> None:
    partials = [
        "What is twelve.",
        "What is twelve times",
        "Which is twelve times seven",
        "What is twelve times seven?",
    ]
    backend = ScriptedBackend(say("84", heard="What is twelve times seven?"), partials=partials)
    async with running_edge(backend) as edge, connected(edge) as client:
        await client.say(np.concatenate([tone(3.5), np.zeros(24_000, np.float32)]))
        await client.event("response.done")
    kind = "conversation.item.input_audio_transcription"
    told = [event["delta"] for event in client.events if event["type"] == f"{kind}.delta"]
    final = [event["transcript"] for event in client.events if event["type"] == f"{kind}.completed"]
    assert told == ["What is", " twelve", " times"]
    assert final == ["What is twelve times seven?"]


async def test_barge_in_is_told_before_the_reply_is_cut_and_truncation_is_the_clients() -> None:
    async def endless(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        yield Heard("tell me a story", is_final=True, end_of_sentence=1.0)
        while True:
            async for event in say("once upon a time ", seconds=1)(turn, audio[:0]):
                if not isinstance(event, ReplyEnd):
                    yield event
            await asyncio.sleep(0.5)

    backend = ScriptedBackend(endless, say("yes?", heard="wait"))
    async with running_edge(backend) as edge, connected(edge) as client:
        await client.say(SPEECH)
        first = await client.event("response.output_audio.delta")
        await asyncio.sleep(0.3)
        await client.say(SPEECH)
        started = await client.event("input_audio_buffer.speech_started")
        cut = await client.event("response.done")
        assert client.events.index(started) < client.events.index(cut)
        assert cut["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
        await client.send("conversation.item.truncate", item_id=first["item_id"], content_index=0, audio_end_ms=500)
        await client.event("conversation.item.truncated")
        await client.send("conversation.item.retrieve", item_id=first["item_id"])
        kept = await client.event("conversation.item.retrieved")
        assert kept["item"]["content"][0]["transcript"] == "once upon"
        assert (await client.events_of("response.done", 2))[1]["response"]["status"] == "completed"


async def test_typed_words_get_a_typed_answer() -> None:
    backend = ScriptedBackend(say("typed back"))
    async with running_edge(backend) as edge, connected(edge, output_modalities=["text"]) as client:
        await client.type("hello")
        done = await client.event("response.output_text.done")
    assert done["text"] == "typed back"


async def test_a_tool_is_called_and_its_result_is_answered() -> None:
    async def call(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        yield ToolCall("call_1", turn.tools[0].name, '{"city": "Paris"}')
        yield ReplyEnd()

    tool = {
        "type": "function",
        "name": "get_weather",
        "description": "Weather",
        "parameters": {"type": "object"},
    }
    backend = ScriptedBackend(call, say("It is sunny in Paris."))
    async with running_edge(backend) as edge, connected(edge, tools=[tool]) as client:
        await client.type("weather in Paris?")
        called = await client.event("response.function_call_arguments.done")
        await client.event("response.done")
        output = {"type": "function_call_output", "call_id": called["call_id"], "output": "sunny"}
        await client.send("conversation.item.create", item=output)
        await client.send("response.create")
        done = await client.event("response.output_audio_transcript.done")
    assert (called["name"], called["arguments"]) == ("get_weather", '{"city": "Paris"}')
    assert done["transcript"] == "It is sunny in Paris."
    assert backend.turns[0].tools[0].description == "Weather"


async def test_push_to_talk() -> None:
    backend = ScriptedBackend(say("over", heard="roger"))
    async with running_edge(backend) as edge, connected(edge, **MANUAL) as client:
        await client.send("input_audio_buffer.commit", event_id="e1")
        assert (await client.event("error"))["error"]["code"] == "input_audio_buffer_commit_empty"
        await client.say(SPEECH)
        await client.send("input_audio_buffer.commit")
        heard = await client.event("conversation.item.input_audio_transcription.completed")
        await client.send("response.create")
        await client.event("response.done")
    assert heard["transcript"] == "roger"
    assert not any(event["type"].endswith("speech_started") for event in client.events)


async def test_push_to_talk_with_other_options_answers_afresh() -> None:
    async def echo(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        yield Heard("roger", is_final=True, end_of_sentence=1.0)
        yield TextDelta(f"{turn.instructions}: {len(audio) / 16_000:.1f} s")
        yield ReplyEnd()

    async with running_edge(ScriptedBackend(echo)) as edge, connected(edge, **MANUAL) as client:
        await client.say(SPEECH)
        await client.send("input_audio_buffer.commit")
        await client.send("response.create", response={"instructions": "loudly", "output_modalities": ["text"]})
        done = await client.event("response.output_text.done")
    assert done["text"] == "loudly: 1.6 s"


async def test_recorded_words_are_heard_and_answered_on_request() -> None:
    backend = ScriptedBackend(say("well said", heard="hear hear"))
    async with running_edge(backend) as edge, connected(edge) as client:
        sound = base64.b64encode(float_to_pcm16(tone(1.0))).decode()
        content = [{"type": "input_audio", "audio": sound}]
        item = {"type": "message", "role": "user", "id": "item_mine", "content": content}
        await client.send("conversation.item.create", item=item)
        heard = await client.event("conversation.item.input_audio_transcription.completed")
        await client.send("response.create")
        done = await client.event("response.output_audio_transcript.done")
    assert (heard["item_id"], heard["transcript"], done["transcript"]) == (
        "item_mine",
        "hear hear",
        "well said",
    )


async def test_a_second_response_is_refused_by_the_id_of_its_event() -> None:
    async def slow(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        yield TextDelta("hm")
        await asyncio.sleep(60)

    async with running_edge(ScriptedBackend(slow)) as edge, connected(edge) as client:
        await client.type("hello")
        await client.event("response.output_audio_transcript.delta")
        await client.send("response.create", event_id="second")
        error = (await client.event("error"))["error"]
        await client.send("response.cancel")
        done = await client.event("response.done")
    assert (error["code"], error["event_id"]) == ("conversation_already_has_active_response", "second")
    assert done["response"]["status_details"]["reason"] == "client_cancelled"


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("{", None),
        ("[1]", None),
        ('{"type": "nothing.like.this"}', "type"),
        ('{"type": "input_audio_buffer.append", "audio": "***"}', "audio"),
        ('{"type": "input_audio_buffer.append"}', "audio"),
        ('{"type": "session.update", "session": {"audio": {"input": {"format": {"rate": 16000}}}}}',
         "session.audio.input.format.rate"),
        ('{"type": "session.update", "session": {"output_modalities": []}}', "session.output_modalities"),
        ('{"type": "session.update", "session": {"tools": [{"type": "function"}]}}', "session.tools.0.name"),
        ('{"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": []}}',
         "item.content"),
        ('{"type": "conversation.item.truncate", "item_id": "x", "audio_end_ms": -1}', "audio_end_ms"),
        ('{"type": "conversation.item.delete", "item_id": "item_x"}', "item_id"),
        ('{"type": "response.create", "response": {"conversation": "none"}}', "response.conversation"),
        ("[" * 100_000, None),
        ('{"type": "session.update", "session": {"x": ' + '{"x":' * 300 + "1" + "}" * 302, "session"),
        ('{"type": "input_audio_buffer.append", "audio": "é"}', "audio"),
        (b"\xff\x00", None),
    ],
)  # fmt: skip
async def test_what_cannot_be_done_is_answered_and_the_session_goes_on(message: str | bytes, param: str | None) -> None:
    async with running_edge() as edge, connected(edge) as client:
        await client.send_raw(message)
        error = (await client.event("error"))["error"]
        assert "expected" in error["message"]
        assert error["param"] == param
        await client.type("still there?")
        await client.event("response.done")


async def test_an_item_that_is_deleted_while_it_is_told_leaves_no_response_open() -> None:
    async def endless(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        while True:
            yield TextDelta("la ")
            await asyncio.sleep(0.05)

    async with running_edge(ScriptedBackend(endless)) as edge, connected(edge) as client:
        await client.type("hello")
        delta = await client.event("response.output_audio_transcript.delta")
        await client.send("conversation.item.delete", item_id=delta["item_id"])
        await client.event("conversation.item.deleted")
        await client.send("response.cancel")
        done = await client.event("response.done")
    assert done["response"]["status"] == "cancelled"


async def test_odd_bytes_of_sound_are_refused() -> None:
    async with running_edge() as edge, connected(edge) as client:
        await client.send("input_audio_buffer.append", audio=base64.b64encode(b"odd").decode())
        error = (await client.event("error"))["error"]
    assert error["type"] == "invalid_request_error"


async def test_two_sessions_do_not_mix() -> None:
    async with running_edge() as edge, connected(edge) as speaking, connected(edge) as silent:
        await speaking.say(SPEECH)
        await speaking.event("response.done")
        await silent.send("session.update", session={})
        await silent.event("session.updated")
    assert [event["type"] for event in silent.events] == ["session.created", "session.updated"]


async def test_a_client_that_goes_in_the_middle_leaves_nothing(nothing_left_behind: None) -> None:
    async with running_edge(ScriptedBackend(say("long", seconds=30))) as edge:
        async with connected(edge) as client:
            await client.say(SPEECH)
            await client.event("response.output_audio.delta")
            client.vanish()
        async with asyncio.timeout(5):
            while edge.edge.sessions:
                await asyncio.sleep(0.02)


async def test_keys_open_the_socket_in_a_header_or_as_a_subprotocol() -> None:
    async with running_edge(api_keys="first,second") as edge:
        with pytest.raises(InvalidStatus) as refusal:
            await connect(edge.socket_url)
        assert refusal.value.response.status_code == 401
        async with connect(edge.socket_url, additional_headers={"Authorization": "Bearer second"}) as connection:
            assert json.loads(await connection.recv())["type"] == "session.created"
        protocols: Any = ["realtime", "openai-insecure-api-key.first"]
        async with connect(edge.socket_url, subprotocols=protocols) as connection:
            assert connection.subprotocol == "realtime"


async def test_pages_of_other_origins_are_kept_out() -> None:
    async with running_edge(allowed_origins="https://ours.example") as edge:
        with pytest.raises(InvalidStatus) as refusal:
            await connect(edge.socket_url, origin="https://theirs.example")  # type: ignore[arg-type]
        assert refusal.value.response.status_code == 403
        async with connect(edge.socket_url, origin="https://ours.example") as connection:  # type: ignore[arg-type]
            assert json.loads(await connection.recv())["type"] == "session.created"


async def test_a_message_beyond_all_measure_ends_its_own_session_only() -> None:
    async with running_edge() as edge, connected(edge) as other, connect(edge.socket_url) as connection:
        with pytest.raises(ConnectionClosedError):
            await connection.send("x" * 20_000_000)
            while True:
                await connection.recv()
        await other.type("still there?")
        await other.event("response.done")
