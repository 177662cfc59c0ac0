"""The `openai-agents` package as published: spoken conversations through its `RealtimeSession`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from agents import function_tool, set_tracing_disabled
from agents.realtime import RealtimeAgent, RealtimeRunner, RealtimeSession, RealtimeSessionEvent

from tests.conversations import (
    ABANDONED_WORK,
    BARGE_IN,
    TOOL_CALL,
    TWO_TURNS,
    WEATHER_REPORT,
    Conversation,
    answer_slowly,
    plain,
)
from tests.edge import EdgeProcess, running_edge
from tests.scripted import ScriptedBackend
from tests.talker import Talker, now

pytestmark = [pytest.mark.models, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(autouse=True)
def no_trace_upload() -> Iterator[None]:
    """The package would send its own traces to its maker's servers."""
    set_tracing_disabled(True)
    yield
    set_tracing_disabled(False)


@function_tool
def get_weather(city: str) -> str:
    """Get the current weather in a city.

    Args:
        city: The name of the city.
    """
    return WEATHER_REPORT if city == "Paris" else f"There is no report for {city}."


AGENT: RealtimeAgent[Any] = RealtimeAgent(
    name="Assistant", instructions="You are a helpful voice assistant.", tools=[get_weather]
)


async def test_spoken_conversations_side_by_side(edge_process: EdgeProcess) -> None:
    async with asyncio.TaskGroup() as stories:
        for story in (take_two_turns, call_a_tool, barge_in):
            stories.create_task(story(edge_process.url))
        stories.create_task(abandon_work())


async def take_two_turns(edge_url: str) -> None:
    story = await hold(TWO_TURNS, edge_url)
    assert story.said_by("user") == [plain(text) for text in story.diary.heard()]
    assert story.said_by("assistant") == [plain(text) for text in story.diary.answers()]
    assert story.kinds.count("agent_start") == story.kinds.count("agent_end") == 2
    assert story.kinds.count("audio_end") == 2


async def call_a_tool(edge_url: str) -> None:
    story = await hold(TOOL_CALL, edge_url)
    assert [kind for kind in story.kinds if kind.startswith("tool")] == ["tool_start", "tool_end"]
    (call,) = [item for item in story.history if item.type == "function_call"]
    assert (call.name, call.status, call.output) == ("get_weather", "completed", WEATHER_REPORT)


async def barge_in(edge_url: str) -> None:
    story = await hold(BARGE_IN, edge_url)
    interrupted = story.kinds.index("audio_interrupted")
    assert "audio" in story.kinds[:interrupted]
    assert "audio" in story.kinds[interrupted:]


async def abandon_work() -> None:
    """A barge-in on an answer that is still being made."""
    async with running_edge(ScriptedBackend(answer_slowly)) as edge:
        story = await hold(ABANDONED_WORK, edge.url)
    assert story.kinds.count("agent_start") == story.kinds.count("agent_end") == 2


class Story:
    """One conversation as the package tells it to its user."""

    def __init__(self, session: RealtimeSession) -> None:
        self._session = session
        self._talker = Talker(session.send_audio)
        self.diary = self._talker.diary
        self.kinds: list[str] = []
        self.errors: list[object] = []
        self.history: list[Any] = []

    async def hold(self, conversation: Conversation) -> None:
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self._listen())
            sending = tasks.create_task(self._talker.microphone.run())
            await self._talker.talk(conversation.lines)
            listening.cancel()
            sending.cancel()

    async def _listen(self) -> None:
        async for event in self._session:
            self._note(event)

    def _note(self, event: RealtimeSessionEvent) -> None:
        self.kinds.append(event.type)
        match event.type:
            case "audio_interrupted":
                self._talker.loudspeaker.stop(now=now())
            case "error":
                self.errors.append(event.error)
            case "history_updated":
                self.history = event.history
            case "raw_model_event" if event.data.type == "raw_server_event":
                self._talker.note(event.data.data)

    def said_by(self, role: str) -> list[str]:
        messages = [item for item in self.history if item.type == "message" and item.role == role]
        return [plain(" ".join(part.transcript or "" for part in item.content)) for item in messages]


async def hold(conversation: Conversation, edge_url: str) -> Story:
    """Hold the conversation and check what every client must see."""
    url = edge_url.replace("http", "ws", 1) + "/v1/realtime?model=gpt-realtime"
    runner = RealtimeRunner(AGENT)
    async with await runner.run(model_config={"url": url, "api_key": "none is needed"}) as session:
        story = Story(session)
        await story.hold(conversation)
    assert story.errors == []
    conversation.check(story.diary)
    return story
