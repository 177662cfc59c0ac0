"""A real edge answers another one's turns, as any server of the protocol would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from edge_client.audio import resample
from edge_client.upstream.backend import UpstreamBackend
from edge_client.upstream.exchange import MAXIMUM_SPEECH_SEC, UpstreamExchange
from edge_client.upstream.settings import UpstreamSettings
from routing.errors import AtCapacity, BackendError, BackendUnavailable, SettingsError, UnsuitedTurn
from routing.turns import (
    REPLY_SAMPLE_RATE,
    SPEECH_SAMPLE_RATE,
    AudioChunk,
    Backend,
    Exchange,
    Heard,
    HistoryItem,
    Message,
    ReplyEnd,
    ReplyEvent,
    Samples,
    TextDelta,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from tests.edge import EdgeProcess, RunningEdge, running_edge
from tests.scripted import ScriptedBackend, ScriptedExchange, say, tone
from tests.spoken import spoken

WEATHER = Tool("get_weather", "Get the current weather", {"type": "object", "properties": {}})


def turn(*history: HistoryItem, **fields: Any) -> Turn:
    return Turn(session_id="session", turn_id="turn", index=0, history=history, **fields)


def upstream(edge: RunningEdge | EdgeProcess, **settings: Any) -> Backend:
    return UpstreamBackend(UpstreamSettings(url=edge.url, **settings))


def ignore(heard: Heard) -> None:
    pass


def speak(exchange: Exchange, seconds: float, *, frequency: float = 440.0) -> None:
    """Feed a steady sound in chunks of 80 ms."""
    time = np.arange(int(seconds * SPEECH_SAMPLE_RATE)) / SPEECH_SAMPLE_RATE
    feed(exchange, (0.3 * np.sin(2 * np.pi * frequency * time)).astype(np.float32))


def feed(exchange: Exchange, samples: Samples) -> None:
    for start in range(0, len(samples), 1280):
        exchange.feed(AudioChunk(samples[start : start + 1280], SPEECH_SAMPLE_RATE))


async def reply_of(exchange: Exchange, within_sec: float = 10.0) -> list[ReplyEvent]:
    async with asyncio.timeout(within_sec), aclosing(exchange.reply()) as events:
        return [event async for event in events]


async def first_sound(exchange: Exchange) -> None:
    """Read up to there, and roll the rest back."""
    async with asyncio.timeout(10), aclosing(exchange.reply()) as events:
        async for event in events:
            if isinstance(event, AudioChunk):
                return


def kinds(events: list[ReplyEvent]) -> list[type]:
    """The kinds of events in their order, the sound as one."""
    found = [type(event) for event in events]
    return [kind for index, kind in enumerate(found) if index == 0 or kind != found[index - 1]]


def sound_of(events: list[ReplyEvent]) -> Samples:
    return np.concatenate([event.samples for event in events if isinstance(event, AudioChunk)])


def words_of(events: list[ReplyEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def until(condition: Any) -> None:
    """What happens at the other side has no event here."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def exchange_with(script: ScriptedBackend, asked: Turn | None = None) -> AsyncIterator[Exchange]:
    async with (
        running_edge(script) as edge,
        upstream(edge).open(asked or turn(), on_heard=ignore) as exchange,
    ):
        yield exchange


# -- turns -----------------------------------------------------------------------------------------------------------


async def test_a_spoken_turn_is_answered_by_another_edge(nothing_left_behind: None) -> None:
    other = ScriptedBackend(say("hello you", seconds=1, heard="hello there"))
    async with exchange_with(other, turn(instructions="Be brief.")) as exchange:
        speak(exchange, 0.8)
        events = await reply_of(exchange)
    assert kinds(events) == [Heard, TextDelta, AudioChunk, ReplyEnd]
    assert events[0] == Heard("hello there", is_final=True)
    assert words_of(events) == "hello you"
    assert len(sound_of(events)) == pytest.approx(REPLY_SAMPLE_RATE, abs=8)
    assert sound_of(events)[:4800] == pytest.approx(tone(0.2), abs=1e-3)
    assert other.turns[0].instructions == "Be brief."
    assert len(other.exchanges[0].audio) == pytest.approx(0.8 * SPEECH_SAMPLE_RATE, abs=64)
    end = events[-1]
    assert isinstance(end, ReplyEnd)
    assert list(end.timings_ms) == ["transcribe", "first_words", "first_sound", "total"]


async def test_what_was_asked_too_early_is_asked_again_with_what_came_since() -> None:
    other = ScriptedBackend(say("hello", seconds=1))
    async with exchange_with(other) as exchange:
        speak(exchange, 0.4)
        await first_sound(exchange)
        speak(exchange, 0.6)
        assert words_of(await reply_of(exchange)) == "hello"
    first, second = other.exchanges
    assert len(first.audio) == pytest.approx(0.4 * SPEECH_SAMPLE_RATE, abs=64)
    assert len(second.audio) == pytest.approx(1.0 * SPEECH_SAMPLE_RATE, abs=64)
    assert second.turn.history == ()  # the first attempt has left nothing


async def test_what_is_said_while_a_reply_runs_belongs_to_the_next_one() -> None:
    other = ScriptedBackend(say("hello", seconds=1))
    async with exchange_with(other) as exchange:
        speak(exchange, 0.4)
        async with asyncio.timeout(10), aclosing(exchange.reply()) as events:
            await anext(events)
            speak(exchange, 0.2)
        await reply_of(exchange)
    assert [len(each.audio) for each in other.exchanges] == pytest.approx([6_400, 9_600], abs=64)


async def test_the_conversation_so_far_goes_along() -> None:
    history = (
        Message("system", "You are in a kitchen."),
        Message("user", "What is for dinner?"),
        Message("assistant", "Let me see."),
        ToolCall("call_1", "get_weather", '{"city": "Delft"}'),
        ToolResult("call_1", '{"sky": "grey"}'),
        Message("assistant", ""),  # cut before anything of it was heard
        Message("user", "And now?"),
    )
    other = ScriptedBackend()
    async with exchange_with(other, turn(*history)) as exchange:
        events = await reply_of(exchange)
    assert kinds(events) == [TextDelta, AudioChunk, ReplyEnd]
    assert other.turns[0].history == tuple(item for item in history if item != Message("assistant", ""))


async def test_a_tool_is_called_and_its_result_answered(nothing_left_behind: None) -> None:
    async def script(asked: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        if len(audio):
            yield Heard("What is the weather?", is_final=True, end_of_sentence=1.0)
            yield ToolCall("call_7", "get_weather", "{}")
        else:
            yield TextDelta("It rains.")
        yield ReplyEnd(input_tokens=12, output_tokens=3)

    other = ScriptedBackend(script)
    wishes: Any = {"tools": (WEATHER,), "tool_choice": "get_weather", "modality": "text"}
    async with running_edge(other) as edge:
        async with upstream(edge).open(turn(**wishes), on_heard=ignore) as exchange:
            speak(exchange, 0.4)
            heard, call, end = await reply_of(exchange)
        history = (Message("user", "What is the weather?"), call, ToolResult("call_7", "rain"))
        async with upstream(edge).open(turn(*history, **wishes), on_heard=ignore) as exchange:  # type: ignore[arg-type]
            answer = await reply_of(exchange)
    assert (heard, call) == (Heard("What is the weather?", is_final=True), ToolCall("call_7", "get_weather", "{}"))
    assert isinstance(end, ReplyEnd)
    assert (end.input_tokens, end.output_tokens) == (12, 3)
    assert kinds(answer) == [TextDelta, ReplyEnd]
    assert [each.tools for each in other.turns] == [(WEATHER,)] * 2
    assert [each.tool_choice for each in other.turns] == ["get_weather"] * 2
    assert [each.modality for each in other.turns] == ["text"] * 2
    assert other.turns[1].history == history


async def test_a_sound_without_words_is_no_turn() -> None:
    async def script(asked: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        yield Heard("", is_final=True)
        yield ReplyEnd()

    async with exchange_with(ScriptedBackend(script)) as exchange:
        speak(exchange, 0.4)
        heard, end = await reply_of(exchange)
    assert heard == Heard("", is_final=True)
    assert isinstance(end, ReplyEnd)


# -- ends ------------------------------------------------------------------------------------------------------------


async def endless(asked: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
    yield TextDelta("for ever")
    while True:
        yield AudioChunk(tone(0.2), REPLY_SAMPLE_RATE)
        await asyncio.sleep(0)


def ended(each: ScriptedExchange) -> bool:
    return each.closed and each.rolled_back == 1


async def test_the_other_side_stops_when_its_reply_is_not_wanted(nothing_left_behind: None) -> None:
    other = ScriptedBackend(endless)
    async with exchange_with(other, turn(Message("user", "Go on."))) as exchange:
        await first_sound(exchange)
        await until(lambda: ended(other.exchanges[0]))


async def test_leaving_in_the_middle_of_a_sentence_leaves_nothing(nothing_left_behind: None) -> None:
    other = ScriptedBackend(endless)
    async with running_edge(other) as edge:
        async with upstream(edge).open(turn(), on_heard=ignore) as exchange:
            speak(exchange, 0.2)
        async with upstream(edge).open(turn(Message("user", "Go on.")), on_heard=ignore) as exchange:
            exchange.commit()
            events = exchange.reply()
            await anext(events)
        with pytest.raises(BackendError, match="closed"):
            async for _ in events:
                pass
        await until(lambda: all(ended(each) for each in other.exchanges) and edge.edge.sessions == 0)


async def test_a_reply_that_fails_says_why() -> None:
    async def script(asked: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        yield TextDelta("Well, ")
        raise BackendError("the model has stumbled")

    async with exchange_with(ScriptedBackend(script), turn(Message("user", "Go on."))) as exchange:
        with pytest.raises(BackendError, match="the model has stumbled"):
            await reply_of(exchange)
        with pytest.raises(BackendError, match="the model has stumbled"):  # asked anew
            await reply_of(exchange)


async def test_who_is_not_let_in_says_so() -> None:
    async with running_edge(api_keys=("secret",), maximum_sessions=1) as edge:
        async with upstream(edge, key=SecretStr("wrong")).open(turn(), on_heard=ignore) as exchange:
            with pytest.raises(BackendError, match="HTTP 401: the key is not accepted"):
                await reply_of(exchange)
        backend = upstream(edge, key=SecretStr("secret"))
        with edge.edge.place():
            async with backend.open(turn(), on_heard=ignore) as exchange:
                with pytest.raises(AtCapacity, match="HTTP 503") as full:
                    await reply_of(exchange)
        assert full.value.retry_after_sec == 5
        async with backend.open(turn(), on_heard=ignore) as exchange:
            assert words_of(await reply_of(exchange)) == "hello"


async def test_nobody_there_is_noticed_when_a_reply_is_asked_for() -> None:
    backend = UpstreamBackend(UpstreamSettings(url="http://127.0.0.1:1"))
    async with backend.open(turn(), on_heard=ignore) as exchange:
        speak(exchange, 0.4)
        with pytest.raises(BackendUnavailable, match="cannot be reached"):
            await reply_of(exchange)


async def test_what_may_not_leave_or_cannot_be_said_is_not_sent() -> None:
    async with running_edge() as edge:
        for refused, message in (
            (turn(privacy="device_only"), "may leave the device"),
            (turn(script="The timer has run out."), "to the letter"),
        ):
            async with upstream(edge).open(refused, on_heard=ignore) as exchange:
                speak(exchange, 0.2)
                with pytest.raises(UnsuitedTurn, match=message):
                    await reply_of(exchange)
            assert isinstance(exchange, UpstreamExchange)
            assert exchange._lines == []


async def test_a_speech_without_end_is_given_up() -> None:
    async with exchange_with(ScriptedBackend()) as exchange:
        for _ in range(int(MAXIMUM_SPEECH_SEC) + 1):
            exchange.feed(AudioChunk(np.zeros(SPEECH_SAMPLE_RATE, np.float32), SPEECH_SAMPLE_RATE))
        with pytest.raises(UnsuitedTurn, match="expected at most 120 s of speech"):
            await reply_of(exchange)


def test_a_server_needs_an_address() -> None:
    with pytest.raises(SettingsError, match="url"):
        UpstreamBackend(UpstreamSettings())


@pytest.mark.models
@pytest.mark.timeout(120)  # it may be the first to start the program
async def test_the_real_program_answers(edge_process: EdgeProcess) -> None:
    backend = upstream(edge_process)
    async with backend.open(turn(), on_heard=ignore) as exchange:
        said = await asyncio.to_thread(spoken, "What is twelve times seven?")
        feed(exchange, resample(said, REPLY_SAMPLE_RATE, SPEECH_SAMPLE_RATE))
        events = await reply_of(exchange, within_sec=30.0)
    assert kinds(events)[:3] == [Heard, TextDelta, AudioChunk]
    assert "84" in words_of(events) or "eighty" in words_of(events).lower()
