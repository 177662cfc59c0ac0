"""The `openai` package as published: spoken conversations over its WebSocket, and its calls over HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any, Self

import pytest
from aiortc import AudioStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from openai import AsyncOpenAI, BadRequestError
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types.realtime import RealtimeResponse

from edge_client.audio import float_to_pcm16
from tests.conversations import (
    ABANDONED_WORK,
    CONVERSATIONS,
    SUM,
    WEATHER_REPORT,
    WEATHER_TOOL,
    Conversation,
    answer_slowly,
    mentions,
)
from tests.diary import Diary
from tests.edge import EdgeProcess, running_edge
from tests.scripted import ScriptedBackend
from tests.spoken import spoken
from tests.talker import Talker, now

pytestmark = [pytest.mark.models, pytest.mark.slow, pytest.mark.timeout(180)]

SESSION: Any = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": {"model": "gpt-4o-mini-transcribe"},
            "turn_detection": {"type": "semantic_vad", "create_response": True, "interrupt_response": True},
        },
        "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin"},
    },
    "tools": [WEATHER_TOOL],
}


async def test_spoken_conversations_side_by_side(client: AsyncOpenAI) -> None:
    async with asyncio.TaskGroup() as stories:
        for conversation in CONVERSATIONS.values():
            stories.create_task(converse(conversation, client))
        stories.create_task(abandon_work())


async def abandon_work() -> None:
    """A barge-in on an answer that is still being made."""
    async with running_edge(ScriptedBackend(answer_slowly)) as edge, await connected(edge.url) as client:
        await converse(ABANDONED_WORK, client)


async def converse(conversation: Conversation, client: AsyncOpenAI) -> None:
    conversation.check(await hold(conversation, client))


async def hold(conversation: Conversation, client: AsyncOpenAI) -> Diary:
    async with client.realtime.connect(model="gpt-realtime") as connection:
        application = Application(connection)
        await connection.session.update(session=SESSION)
        await application.hold(conversation)
    return application.talker.diary


class Application:
    """What a program that uses the package plainly does by itself: run tools, and cut off what it plays."""

    def __init__(self, connection: AsyncRealtimeConnection) -> None:
        self._connection = connection
        self.talker = Talker(self._send)

    async def hold(self, conversation: Conversation) -> None:
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self.listen())
            sending = tasks.create_task(self.talker.microphone.run())
            await self.talker.talk(conversation.lines)
            listening.cancel()
            sending.cancel()

    async def listen(self) -> None:
        async for event in self._connection:
            self.talker.note(event.to_dict())
            match event.type:
                case "input_audio_buffer.speech_started":
                    await self._fall_silent()
                case "conversation.item.truncated":
                    await self._connection.conversation.item.retrieve(item_id=event.item_id)
                case "response.done":
                    await run_tools(self._connection, event.response)

    async def _send(self, sound: bytes) -> None:
        await self._connection.input_audio_buffer.append(audio=base64.b64encode(sound).decode())

    async def _fall_silent(self) -> None:
        if cut := self.talker.loudspeaker.stop(now=now()):
            await self._connection.conversation.item.truncate(
                item_id=cut.item_id, content_index=0, audio_end_ms=cut.audio_end_ms
            )


async def run_tools(connection: AsyncRealtimeConnection, response: RealtimeResponse) -> None:
    """Answer what the response calls, and ask for words about it."""
    for item in response.output or ():
        if item.type == "function_call":
            output: Any = {"type": "function_call_output", "call_id": item.call_id, "output": WEATHER_REPORT}
            await connection.conversation.item.create(item=output)
            await connection.response.create()


async def test_typed_question_tool_and_written_answer(client: AsyncOpenAI) -> None:
    diary = Diary()
    async with client.realtime.connect(model="gpt-realtime") as connection:
        await connection.session.update(
            session={"type": "realtime", "output_modalities": ["text"], "tools": [WEATHER_TOOL]}
        )
        await connection.conversation.item.create(item=typed("What is the weather in Paris?"))
        await connection.response.create()
        async for event in connection:
            diary.write(event.to_dict())
            if event.type == "response.done":
                await run_tools(connection, event.response)
            if diary.answers():
                break
    (call,) = diary.calls()
    assert (call["name"], json.loads(call["arguments"])) == ("get_weather", {"city": "Paris"})
    (written,) = diary.of("response.output_text.done")
    assert mentions(written["text"], "sunny")
    assert diary.of("response.output_audio.delta") == diary.of("error") == []


async def test_push_to_talk(client: AsyncOpenAI) -> None:
    diary = Diary()
    sound = float_to_pcm16(await asyncio.to_thread(spoken, SUM))
    async with client.realtime.connect(model="gpt-realtime") as connection:
        await connection.session.update(session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
        await connection.input_audio_buffer.append(audio=base64.b64encode(sound).decode())
        await connection.input_audio_buffer.commit()
        await connection.response.create()
        async for event in connection:
            diary.write(event.to_dict())
            if event.type == "response.done":
                break
    assert diary.of("input_audio_buffer.speech_started") == diary.of("error") == []
    assert mentions(diary.heard()[0], "times seven"), diary.heard()
    assert mentions(diary.answers()[0], "84", "eighty four"), diary.answers()


async def test_client_secret_opens_a_session(client: AsyncOpenAI) -> None:
    secret = await client.realtime.client_secrets.create(
        expires_after={"anchor": "created_at", "seconds": 60},
        session={"type": "realtime", "instructions": "Be brief."},
    )
    assert secret.value.startswith("ek_")
    assert 0 < secret.expires_at - time.time() <= 61
    assert secret.session.type == "realtime"
    bearer = client.with_options(api_key=secret.value)
    async with bearer.realtime.connect(model="gpt-realtime") as connection:
        created = await connection.recv()
    assert created.type == "session.created"
    assert created.session.type == "realtime"
    assert created.session.instructions == "Be brief."


@pytest.mark.parametrize("session", [None, {"type": "realtime", "instructions": "Be brief."}], ids=["raw", "multipart"])
async def test_call_is_created_and_hung_up(client: AsyncOpenAI, session: Any) -> None:
    async with Peer() as peer:
        extra = {"session": session} if session else {}
        answer = await client.realtime.calls.create(sdp=await peer.offer(), **extra)
        call_id = answer.response.headers["Location"].rpartition("/")[2]
        created = await peer.connect(answer.text)
        assert created["type"] == "session.created"
        assert not session or created["session"]["instructions"] == "Be brief."
        await client.realtime.calls.hangup(call_id)
        await asyncio.wait_for(peer.hung_up.wait(), 60)


async def test_a_bad_offer_is_refused_with_words(client: AsyncOpenAI) -> None:
    with pytest.raises(BadRequestError) as refusal:
        await client.realtime.calls.create(sdp="not a session description")
    assert refusal.value.body is not None


class Peer:
    """A WebRTC peer with a microphone and the channel for events, as an application would build it."""

    def __init__(self) -> None:
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._events: asyncio.Queue[str] = asyncio.Queue()
        self.hung_up = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._connection.addTrack(AudioStreamTrack())
        channel = self._connection.createDataChannel("oai-events")
        channel.on("message", self._events.put_nowait)
        channel.on("close", self.hung_up.set)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def offer(self) -> str:
        await self._connection.setLocalDescription(await self._connection.createOffer())
        return self._connection.localDescription.sdp

    async def connect(self, answer: str) -> Any:
        """Returns the first event of the server."""
        await self._connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        return json.loads(await asyncio.wait_for(self._events.get(), 60))


@pytest.fixture
async def client(edge_process: EdgeProcess) -> AsyncIterator[AsyncOpenAI]:
    async with await connected(edge_process.url) as client:
        yield client


async def connected(url: str) -> AsyncOpenAI:
    """A client, set up on a thread: the package reads files and runs `uname` for its first headers."""
    return await asyncio.to_thread(new_client, f"{url}/v1")


def new_client(base_url: str) -> AsyncOpenAI:
    client = AsyncOpenAI(base_url=base_url, api_key="none is needed", max_retries=0)
    client.platform_headers()
    return client


def typed(text: str) -> Any:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
