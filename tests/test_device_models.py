"""The device with its real models: spoken questions get the right answers, and tools the right arguments."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from edge_client.audio import resample
from edge_client.device.backend import DeviceBackend
from edge_client.device.settings import DeviceSettings
from edge_client.device.skills import load_skills
from edge_client.models.library import Library, load_library
from routing.turns import (
    REPLY_SAMPLE_RATE,
    SPEECH_SAMPLE_RATE,
    AudioChunk,
    Heard,
    Message,
    Reminder,
    ReplyEvent,
    Samples,
    TextDelta,
    Tool,
    ToolCall,
    Turn,
)
from tests.model_files import model_store

pytestmark = [pytest.mark.models, pytest.mark.timeout(120)]

NOW = datetime(2026, 11, 22, 15, 45, tzinfo=UTC)
TEXT = {"type": "string"}
NUMBER = {"type": "number"}


def tool(name: str, description: str, **properties: Any) -> Tool:
    return Tool(name, description, {"type": "object", "properties": properties, "required": list(properties)})


TOOLS = (
    tool("get_weather", "Get the current weather for a city", city=TEXT),
    tool(
        "set_light",
        "Turn a light on or off in a room",
        room=TEXT,
        state={"type": "string", "enum": ["on", "off"]},
    ),
    tool("add_numbers", "Add two numbers", a=NUMBER, b=NUMBER),
    tool("search", "Search the web for a query", query=TEXT),
)


@pytest.fixture(scope="module")
def library() -> Iterator[Library]:
    library = asyncio.run(load_library(model_store(), progress=lambda text: None))
    yield library
    library.close()


@pytest.fixture(scope="module")
def backend(library: Library) -> DeviceBackend:
    backend = DeviceBackend(library=library, skills=load_skills(), settings=DeviceSettings(), clock=lambda: NOW)
    asyncio.run(backend.prepare())
    return backend


def turn(*history: Message, **fields: Any) -> Turn:
    return Turn(session_id="session", turn_id="turn", index=0, history=history, **fields)


async def spoken(library: Library, text: str) -> Samples:
    samples = await library.voice.thread.run(lambda: library.voice.model.speak(text))
    pause = np.zeros(SPEECH_SAMPLE_RATE // 10, np.float32)
    return np.concatenate([pause, resample(samples, REPLY_SAMPLE_RATE, SPEECH_SAMPLE_RATE), pause])


async def answered(backend: DeviceBackend, asked: Turn, speech: Samples | None = None) -> list[ReplyEvent]:
    async with backend.open(asked, on_heard=lambda heard: None) as exchange:
        for start in range(0, 0 if speech is None else len(speech), 1280):
            assert speech is not None
            exchange.feed(AudioChunk(speech[start : start + 1280], SPEECH_SAMPLE_RATE))
            await asyncio.sleep(0)
        exchange.commit()
        return [event async for event in exchange.reply()]


def text_of(events: list[ReplyEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def call_in(events: list[ReplyEvent]) -> tuple[str, Any] | None:
    calls = [event for event in events if isinstance(event, ToolCall)]
    return (calls[0].name, json.loads(calls[0].arguments)) if calls else None


# -- speech ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What time is it?", "It's 3:45 PM."),
        ("What is twelve times eight?", "12 times 8 is 96."),
        ("What's the square root of one hundred and forty four?", "The square root of 144 is 12."),
        ("What is fifteen percent of eighty?", "15 percent of 80 is 12."),
        ("What is the capital of France?", "The capital of France is Paris."),
        ("What day is it today?", "It's Sunday, November 22."),
    ],
)
async def test_a_spoken_question_gets_the_right_answer(
    library: Library, backend: DeviceBackend, question: str, answer: str
) -> None:
    events = await answered(backend, turn(), await spoken(library, question))
    assert isinstance(events[0], Heard)
    assert events[0].end_of_sentence is None or events[0].end_of_sentence >= 0.03
    assert text_of(events) == answer
    sound = np.concatenate([event.samples for event in events if isinstance(event, AudioChunk)])
    assert len(sound) > REPLY_SAMPLE_RATE / 2
    assert float(np.abs(sound).max()) > 0.05


async def test_a_spoken_timer_is_set(library: Library, backend: DeviceBackend) -> None:
    events = await answered(backend, turn(), await spoken(library, "Set a timer for ten minutes."))
    assert [event for event in events if isinstance(event, Reminder)] == [
        Reminder(600, "Your timer for 10 minutes is up.")
    ]


async def test_silence_is_no_turn(backend: DeviceBackend) -> None:
    events = await answered(backend, turn(), np.zeros(SPEECH_SAMPLE_RATE, np.float32))
    assert events[:-1] == [Heard("", is_final=True)]


async def test_two_who_speak_at_once_are_answered_each(library: Library, backend: DeviceBackend) -> None:
    questions = {"What is five times six?": "5 times 6 is 30.", "What time is it?": "It's 3:45 PM."}
    speech = [await spoken(library, question) for question in questions]
    replies = await asyncio.gather(*(answered(backend, turn(), samples) for samples in speech))
    assert [text_of(events) for events in replies] == list(questions.values())


# -- who answers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("Do you have the time?", "It's 3:45 PM."),
        ("Could you tell me what time it is?", "It's 3:45 PM."),
        ("Could you say that once more?", "I haven't said anything yet."),
        ("I want to hear a joke.", "Why did the bicycle fall over? It was two tired."),
        ("How's it going?", "I'm fine, thank you. How are you?"),
        ("Thanks so much!", "You're welcome!"),
        ("Bye for now.", "Goodbye! Talk to you soon."),
        ("Should I take an umbrella?", "I'm sorry, I can't look that up from here."),
        ("Please turn on the lights.", "I'm sorry, I can't do that from here."),
    ],
)
async def test_skills_are_found_in_other_words(backend: DeviceBackend, words: str, answer: str) -> None:
    assert text_of(await answered(backend, turn(Message("user", words), modality="text"))) == answer


@pytest.mark.parametrize(
    "words",
    [
        "How many days are in a week?",
        "What time does the store open?",
        "Who painted the Mona Lisa?",
        "Do you like pizza?",
        "I play the guitar.",
        "What does goodbye mean?",
    ],
)
async def test_other_questions_are_left_to_the_language_model(
    library: Library, backend: DeviceBackend, words: str
) -> None:
    before = library.language.thread.statistics().calls
    await answered(backend, turn(Message("user", words), modality="text"))
    await library.language.thread.run(lambda: None)
    assert library.language.thread.statistics().calls > before + 1


# -- tools -------------------------------------------------------------------------------------------------------------

REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("What's the weather like in Paris?", "get_weather", {"city": "Paris"}),
    ("Is it going to rain in Berlin tomorrow?", "get_weather", {"city": "Berlin"}),
    ("How hot is it in Madrid right now?", "get_weather", {"city": "Madrid"}),
    ("Do I need an umbrella in London?", "get_weather", {"city": "London"}),
    ("Tell me the weather in New York.", "get_weather", {"city": "New York"}),
    ("What's the forecast for San Francisco?", "get_weather", {"city": "San Francisco"}),
    ("Turn on the kitchen light.", "set_light", {"room": "kitchen", "state": "on"}),
    ("Switch off the lamp in the living room.", "set_light", {"room": "living room", "state": "off"}),
    ("Lights off in the bedroom.", "set_light", {"room": "bedroom", "state": "off"}),
    ("Please turn the hallway light on.", "set_light", {"room": "hallway", "state": "on"}),
    ("What is five plus three?", "add_numbers", {"a": 5, "b": 3}),
    ("Add twelve and thirty.", "add_numbers", {"a": 12, "b": 30}),
    ("Can you add 100 and 250 for me?", "add_numbers", {"a": 100, "b": 250}),
    ("Search for cheap flights to Rome.", "search", {"query": "cheap flights to Rome"}),
    ("Look up the history of the Tower of London.", "search", {"query": "history of the Tower of London"}),
    ("Find me a recipe for banana bread.", "search", {"query": "recipe for banana bread"}),
    ("Can you search who won the World Cup in 1998?", "search", {"query": "who won the World Cup in 1998"}),
]


@pytest.mark.parametrize(("words", "name", "arguments"), REQUESTS)
async def test_tools_are_called_with_what_was_said(
    backend: DeviceBackend, words: str, name: str, arguments: dict[str, Any]
) -> None:
    asked = turn(Message("user", words), tools=TOOLS, modality="text")
    assert call_in(await answered(backend, asked)) == (name, arguments)


async def test_a_tool_is_called_by_voice(library: Library, backend: DeviceBackend) -> None:
    speech = await spoken(library, "What's the weather like in Paris?")
    assert call_in(await answered(backend, turn(tools=TOOLS), speech)) == ("get_weather", {"city": "Paris"})


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("How's the weather?", "Which city?"),
        ("Turn the light on.", "Which room?"),
        ("Make the bedroom bright.", "Which state: on or off?"),
        ("Should I take an umbrella?", "I'm sorry, I can't look that up from here."),
        ("What is ten divided by two?", "10 divided by 2 is 5."),
        ("What time is it?", "It's 3:45 PM."),
        ("Set a timer for ten minutes.", "Your timer is set for 10 minutes."),
    ],
)
async def test_tools_are_not_called_with_what_was_not_said(backend: DeviceBackend, words: str, answer: str) -> None:
    asked = turn(Message("user", words), tools=TOOLS, modality="text")
    assert text_of(await answered(backend, asked)) == answer
