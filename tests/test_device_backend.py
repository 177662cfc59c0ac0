"""The device hears, decides and speaks; what is begun too early is dropped without a trace."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from edge_client.device import decider, exchange
from edge_client.device.backend import DeviceBackend
from edge_client.device.settings import DeviceSettings
from edge_client.device.skills import Request, Skill, SkillRegistry, load_skills, skill
from edge_client.models.library import Library
from routing.errors import BackendError, BackendUnavailable
from routing.turns import (
    AudioChunk,
    Exchange,
    Heard,
    Message,
    Reminder,
    ReplyEnd,
    ReplyEvent,
    TextDelta,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from tests.device_models import ENDLESS, ScriptedModels, chunks, spoken

NOW = datetime(2026, 11, 22, 15, 45, tzinfo=UTC)
LONG = "One two three four five six. Seven eight nine ten eleven twelve. Thirteen fourteen fifteen sixteen."
WEATHER = Tool(
    "get_weather",
    "Get the current weather for a city",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is given up because the machine is busy; what shall be, its own test says."""
    for module, name in ((exchange, "JUDGE_PATIENCE_SEC"), (decider, "SKILL_PATIENCE_SEC")):
        monkeypatch.setattr(module, name, 60.0)


@pytest.fixture
def models() -> ScriptedModels:
    return ScriptedModels()


@pytest.fixture
def library(models: ScriptedModels) -> Iterator[Library]:
    with models.library() as library:
        yield library


@pytest.fixture
def backend(library: Library) -> DeviceBackend:
    return device(library)


def device(library: Library, *skills: Skill) -> DeviceBackend:
    registry = SkillRegistry([*skills, *load_skills().skills])
    return DeviceBackend(library=library, skills=registry, settings=DeviceSettings(), clock=lambda: NOW)


def turn(*history: Any, **fields: Any) -> Turn:
    return Turn(session_id="session", turn_id="turn", index=0, history=history, **fields)


@asynccontextmanager
async def opened(backend: DeviceBackend, asked: Turn | None = None, *said: str) -> AsyncIterator[Exchange]:
    async with backend.open(asked or turn(), on_heard=lambda heard: None) as opened_exchange:
        feed(opened_exchange, *said)
        yield opened_exchange


def feed(opened_exchange: Exchange, *said: str) -> None:
    for text in said:
        for chunk in chunks(spoken(text)):
            opened_exchange.feed(chunk)


async def answered(backend: DeviceBackend, asked: Turn, *said: str) -> list[ReplyEvent]:
    """All events of a reply that was committed before it was asked for."""
    async with opened(backend, asked, *said) as one:
        one.commit()
        return [event async for event in one.reply()]


async def read_until(events: AsyncGenerator[ReplyEvent], kind: type[ReplyEvent]) -> ReplyEvent:
    """The first event of ``kind``; the generator stays open."""
    async for event in events:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind.__name__} came")


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def text_of(events: list[ReplyEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def seconds_of(events: list[ReplyEvent]) -> float:
    return sum(event.duration_sec for event in events if isinstance(event, AudioChunk))


def kinds_of(events: list[ReplyEvent]) -> list[str]:
    """The kinds of events in order, with repetitions told once."""
    names = [type(event).__name__ for event in events]
    return [name for name, before in zip(names, [None, *names], strict=False) if name != before]


# -- a spoken turn -----------------------------------------------------------------------------------------------------


async def test_a_spoken_question_is_heard_and_answered_clause_by_clause(
    models: ScriptedModels, backend: DeviceBackend
) -> None:
    models.writer.replies = {"User: why is the sea so salty": " Rivers carry salt into it. They always did. Really."}
    events = await answered(backend, turn(), "Why is the sea so salty?")
    assert kinds_of(events) == ["Heard", "TextDelta", "AudioChunk", "TextDelta", "AudioChunk", "ReplyEnd"]
    assert events[0] == Heard("Why is the sea so salty?", is_final=True, end_of_sentence=0.9)
    assert text_of(events) == "Rivers carry salt into it. They always did."  # two sentences are enough
    assert models.voice.said == ["Rivers carry salt into it.", "They always did."]
    assert seconds_of(events) == 4.0
    assert max(event.duration_sec for event in events if isinstance(event, AudioChunk)) == 0.2
    assert isinstance(events[-1], ReplyEnd)
    phases = ["transcribe", "judge_text", "match", "first_text", "first_audio", "total"]
    assert list(events[-1].timings_ms) == phases


async def test_the_end_of_the_sentence_is_judged_on_the_prompt_that_the_reply_goes_on_with(
    models: ScriptedModels, backend: DeviceBackend
) -> None:
    history = (Message("user", "Hi."), Message("assistant", "Hello!"))
    await answered(backend, turn(*history), "Why is that?")
    assert models.writer.judged[0].endswith("User: hi\nAssistant: Hello!\nUser: why is that")
    assert models.writer.prompts == [f"{models.writer.judged[0]}\nAssistant:"]


async def test_a_sentence_that_a_skill_was_made_for_is_known_to_be_complete(
    models: ScriptedModels, backend: DeviceBackend
) -> None:
    models.writer.completeness = 0.01
    for said, judged in (("What can you do?", 0.9), ("What can you", 0.01), ("Hello!", 0.01)):
        events = await answered(backend, turn(), said)
        assert events[0] == Heard(said, is_final=True, end_of_sentence=judged)


async def test_words_are_told_while_they_are_said_and_read_ahead(
    models: ScriptedModels, backend: DeviceBackend
) -> None:
    heard: list[Heard] = []
    noticed = asyncio.Event()

    def note(partial: Heard) -> None:
        heard.append(partial)
        noticed.set()

    async with backend.open(turn(), on_heard=note) as one:
        for part in ("why is the", "sea so salty"):
            noticed.clear()
            feed(one, part)
            await noticed.wait()
        one.commit()
        events = [event async for event in one.reply() if isinstance(event, Heard)]
    assert heard == [Heard("why is the", is_final=False), Heard("why is the sea so salty", is_final=False)]
    assert events[0].text == "why is the sea so salty"
    assert [len(draft) for _, draft in models.ear.passes] == [0, 3]  # and none for what was heard in full
    assert models.writer.prefilled[0].endswith("winter.\n")
    assert models.writer.prefilled[-1].endswith("User: why is the sea so")


async def test_no_words_are_no_turn(models: ScriptedModels, backend: DeviceBackend) -> None:
    async with opened(backend) as one:
        one.feed(AudioChunk(np.zeros(8000, np.float32), 16_000))
        events = [event async for event in one.reply()]
    assert events[:-1] == [Heard("", is_final=True)]
    assert isinstance(events[-1], ReplyEnd)
    assert models.writer.judged == []


async def test_a_model_that_is_busy_for_long_is_not_waited_for_with_the_words(
    models: ScriptedModels, backend: DeviceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "JUDGE_PATIENCE_SEC", 0.01)
    models.writer.pen.clear()
    async with opened(backend, turn(), "What is five plus three?") as one:
        events = [event async for event in one.reply()]
    assert events[0] == Heard("What is five plus three?", is_final=True, end_of_sentence=None)
    assert text_of(events) == "5 plus 3 is 8."


# -- speculation -------------------------------------------------------------------------------------------------------


async def test_a_reply_begun_too_early_is_closed_and_asked_for_again(
    models: ScriptedModels, backend: DeviceBackend
) -> None:
    models.writer.replies = {
        "User: i would like": " What would you like to have today, my friend? " + "Tell me. " * 20,
        "User: i would like some advice": " Sleep more.",
    }
    async with opened(backend, turn(), "I would like") as one:
        async with aclosing(one.reply()) as early:
            await read_until(early, AudioChunk)
        feed(one, "some advice")
        one.commit()
        events = [event async for event in one.reply()]
    assert events[0] == Heard("I would like some advice", is_final=True, end_of_sentence=0.9)
    assert text_of(events) == "Sleep more."


@pytest.mark.parametrize("kind", [Heard, TextDelta, AudioChunk])
async def test_closing_at_any_point_stops_the_work_and_frees_the_threads(
    models: ScriptedModels, library: Library, kind: type[ReplyEvent]
) -> None:
    models.writer.replies = {"User: tell me about the sea": f" It is deep, wide, blue.{ENDLESS}"}
    backend = device(library)
    async with opened(backend, turn(), "Tell me about the sea.") as one:
        async with aclosing(one.reply()) as early:
            await read_until(early, kind)
        await library.language.thread.run(lambda: None)  # whatever was begun has ended
        assert models.writer.stopped == (kind is not Heard)
        assert len(models.voice.said) <= 1
        models.writer.replies = {}
        one.commit()
        assert kinds_of([event async for event in one.reply() if isinstance(event, Heard)]) == ["Heard"]


async def test_cancelling_the_reader_stops_a_reply_that_waits_for_a_model(
    models: ScriptedModels, backend: DeviceBackend, library: Library
) -> None:
    models.writer.replies = {"User: tell me about the sea": f" Well{ENDLESS}"}
    async with opened(backend, turn(), "Tell me about the sea.") as one:
        reading = asyncio.create_task(read_until(one.reply(), TextDelta))
        await until(lambda: ENDLESS in models.writer.written)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await library.language.thread.run(lambda: None)
        assert models.writer.stopped == 1


async def test_only_a_few_seconds_are_made_before_the_turn_is_over(backend: DeviceBackend) -> None:
    async with opened(backend, turn(script=LONG)) as one, aclosing(one.reply()) as events:
        seconds = 0.0
        while seconds < 2.9:
            seconds += seconds_of([await anext(events)])
        assert isinstance(await anext(events), TextDelta)  # the next words are told, and their sound is not made
        waiting = asyncio.ensure_future(anext(events))
        assert not (await asyncio.wait([waiting], timeout=0.2))[0]
        assert seconds == pytest.approx(3.0)
        one.commit()
        rest = [await waiting, *[event async for event in events]]
    assert seconds + seconds_of(rest) == pytest.approx(8.0)


async def test_a_reply_that_waits_to_be_committed_can_be_closed(backend: DeviceBackend) -> None:
    async with opened(backend, turn(script=LONG)) as one:
        reading = asyncio.create_task(read_until(one.reply(), ReplyEnd))
        await asyncio.wait([reading], timeout=0.1)
        reading.cancel()
        await asyncio.wait([reading])
        one.commit()
        assert seconds_of([event async for event in one.reply()]) == pytest.approx(8.0)


# -- what is asked -----------------------------------------------------------------------------------------------------


async def test_a_typed_question_is_answered_without_being_heard(models: ScriptedModels, backend: DeviceBackend) -> None:
    models.writer.replies = {"User: and the lakes": " Lakes are fresh."}
    history = (
        Message("user", "Is the sea salty?"),
        Message("assistant", "Yes."),
        Message("user", "And the lakes?"),
    )
    events = await answered(backend, turn(*history))
    assert kinds_of(events) == ["TextDelta", "AudioChunk", "ReplyEnd"]
    assert text_of(events) == "Lakes are fresh."
    assert models.writer.prompts[0].count("and the lakes") == 1


async def test_halves_of_characters_are_dropped(models: ScriptedModels, backend: DeviceBackend) -> None:
    models.writer.replies = {"User: and the lakes": " Lakes are fresh."}
    events = await answered(backend, turn(Message("user", "And \ud83cthe lakes?"), instructions="\udfff"))
    assert text_of(events) == "Lakes are fresh."
    results = (ToolCall("call_1", "t", "{}"), ToolResult("call_1", '"It is \ud83c\\ud83c sunny."'))
    assert text_of(await answered(backend, turn(*results))).encode()


async def test_a_text_reply_has_no_sound(models: ScriptedModels, backend: DeviceBackend) -> None:
    events = await answered(backend, turn(Message("user", "What time is it?"), modality="text"))
    assert kinds_of(events) == ["TextDelta", "ReplyEnd"]
    assert models.voice.said == []


async def test_a_script_is_said_to_the_letter(models: ScriptedModels, backend: DeviceBackend) -> None:
    events = await answered(backend, turn(Message("user", "What time is it?"), script="Ding! Your tea, Dr. Ray.\n"))
    assert text_of(events) == "Ding! Your tea, Dr. Ray.\n"
    assert models.voice.said == ["Ding!", "Your tea, Dr. Ray."]


async def test_the_results_of_tools_are_spoken(backend: DeviceBackend) -> None:
    history = (
        Message("user", "How is the weather in Rome and Oslo?"),
        ToolCall("call_1", "get_weather", "{}"),
        ToolCall("call_2", "get_weather", "{}"),
        ToolResult("call_1", '{"temperature_c": 21}'),
        ToolResult("call_2", "It is snowing in Oslo."),
    )
    events = await answered(backend, turn(*history, tools=(WEATHER,), tool_choice="required"))
    assert text_of(events) == "The temperature is 21 degrees Celsius. It is snowing in Oslo."


@pytest.mark.parametrize(
    ("history", "words"),
    [
        ((), "Hello! What can I do for you?"),
        ((Message("assistant", "Hi."),), "Is there anything else I can do for you?"),
    ],
)
async def test_asked_for_nothing_it_offers_itself(
    backend: DeviceBackend, history: tuple[Message, ...], words: str
) -> None:
    assert text_of(await answered(backend, turn(*history))) == words


# -- skills ------------------------------------------------------------------------------------------------------------


async def test_a_skill_answers_without_the_language_model(models: ScriptedModels, backend: DeviceBackend) -> None:
    events = await answered(backend, turn(), "Set a timer for ten minutes.")
    assert events[1] == Reminder(600, "Your timer for 10 minutes is up.")
    assert text_of(events) == "Your timer is set for 10 minutes."
    assert models.writer.prompts == []


async def test_a_skill_of_the_users_own_that_fails_becomes_an_apology(
    library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    @skill("open the pod bay doors")
    def doors(_request: Request) -> str:
        raise RuntimeError("out of order")

    backend = device(library, doors)
    events = await answered(backend, turn(), "Open the pod bay doors!")
    assert text_of(events) == "I'm sorry, something went wrong with that."
    assert "doors failed" in caplog.text
    assert text_of(await answered(backend, turn(), "What time is it?")) == "It's 3:45 PM."


async def test_a_skill_that_dawdles_is_not_waited_for(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decider, "SKILL_PATIENCE_SEC", 0.01)
    go_on = threading.Event()

    @skill("open the pod bay doors")
    def doors(_request: Request) -> str:
        go_on.wait(5)
        return "They are open."

    events = await answered(device(library, doors), turn(), "Open the pod bay doors!")
    go_on.set()
    assert text_of(events) == "I'm sorry, something went wrong with that."


async def test_a_recogniser_that_dawdles_is_not_waited_for(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decider, "SKILL_PATIENCE_SEC", 0.01)
    go_on = threading.Event()
    doors = skill("open the pod bay doors", recognises=lambda request: go_on.wait(5))(lambda request: "No.")
    events = await answered(device(library, doors), turn(), "What time is it?")
    monkeypatch.undo()
    go_on.set()
    assert text_of(events) in ("It's 3:45 PM.", "I'm sorry, something went wrong with that.")


async def test_a_skill_that_returns_none_leaves_it_to_the_language_model(
    models: ScriptedModels, library: Library
) -> None:
    models.writer.replies = {"User: open the pod bay doors": " I'd rather not."}
    doors = skill("open the pod bay doors")(lambda request: None)
    assert text_of(await answered(device(library, doors), turn(), "Open the pod bay doors!")) == "I'd rather not."


# -- tools -------------------------------------------------------------------------------------------------------------


async def test_a_tool_is_called_with_the_users_words(backend: DeviceBackend) -> None:
    events = await answered(backend, turn(tools=(WEATHER,)), "Get the current weather for Paris.")
    assert kinds_of(events) == ["Heard", "ToolCall", "ReplyEnd"]
    call = events[1]
    assert isinstance(call, ToolCall)
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"})
    assert call.call_id.startswith("call_")


async def test_a_turn_that_is_answered_again_makes_the_same_call(backend: DeviceBackend) -> None:
    asked, other = turn(tools=(WEATHER,)), Turn(session_id="session", turn_id="other", index=1, tools=(WEATHER,))
    events = [await answered(backend, each, "Get the current weather for Paris.") for each in (asked, asked, other)]
    first, again, third = (call for each in events for call in each if isinstance(call, ToolCall))
    assert first == again
    assert first.call_id != third.call_id


async def test_the_model_chooses_among_the_users_words_by_grammar(
    models: ScriptedModels, backend: DeviceBackend
) -> None:
    models.writer.replies = {"city:": ' "Paris"'}
    asked = turn(tools=(WEATHER,))
    events = await answered(backend, asked, "Get the current weather for Paris including snow.")
    assert isinstance(events[1], ToolCall)
    assert json.loads(events[1].arguments) == {"city": "Paris"}
    assert models.writer.prompts[0].endswith("Sentence: Get the current weather for Paris including snow\ncity:")


async def test_what_a_tool_lacks_is_asked_for_and_the_answer_completes_the_call(
    backend: DeviceBackend,
) -> None:
    question = "Get the current weather, please!"
    assert text_of(await answered(backend, turn(tools=(WEATHER,)), question)) == "Which city?"
    history = (Message("user", question), Message("assistant", "Which city?"))
    events = await answered(backend, turn(*history, tools=(WEATHER,)), "In Paris.")
    assert isinstance(events[1], ToolCall)
    assert json.loads(events[1].arguments) == {"city": "Paris"}
    changed = await answered(backend, turn(*history, tools=(WEATHER,)), "What time is it?")
    assert text_of(changed) == "It's 3:45 PM."


@pytest.mark.parametrize(
    ("choice", "question", "called"),
    [
        ("auto", "What time is it?", False),
        ("none", "Get the current weather for Paris.", False),
        ("required", "What time is it?", True),
        ("get_weather", "What time is it?", True),
        ("no_such_tool", "What time is it?", False),
    ],
)
async def test_the_choice_of_tools_is_honoured(
    backend: DeviceBackend, choice: str, question: str, called: bool
) -> None:
    asked = turn(Message("user", question), tools=(WEATHER,), tool_choice=choice)
    events = await answered(backend, asked)
    assert ("ToolCall" in kinds_of(events)) is called


# -- faults ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ear", "counter", "writer", "voice"])
async def test_a_model_that_fails_costs_the_reply_and_nothing_else(
    models: ScriptedModels, backend: DeviceBackend, name: str
) -> None:
    models.writer.replies = {"User: why is the sea so salty": " Rivers carry salt."}
    model = getattr(models, name)
    async with opened(backend, turn(), "Why is the sea so salty?") as one:
        model.fault = RuntimeError("out of memory")
        with pytest.raises(BackendError, match=r"failed: out of memory") as raised:
            [event async for event in one.reply()]
        assert isinstance(raised.value.__cause__, RuntimeError)
        model.fault = None
        assert text_of([event async for event in one.reply()]) == "Rivers carry salt."


async def test_partial_transcripts_that_fail_do_not_end_the_turn(
    models: ScriptedModels, backend: DeviceBackend, caplog: pytest.LogCaptureFixture
) -> None:
    models.writer.fault = RuntimeError("out of memory")
    async with opened(backend, turn(), "What time is it?") as one:
        await until(lambda: "no partial transcripts" in caplog.text)
        models.writer.fault = None
        assert text_of([event async for event in one.reply()]) == "It's 3:45 PM."


async def test_models_that_are_closed_make_the_backend_unavailable(library: Library) -> None:
    backend = device(library)
    library.close()
    with pytest.raises(BackendUnavailable):
        await answered(backend, turn(script="Hello."))


async def test_an_error_of_the_caller_comes_through_as_it_is(backend: DeviceBackend) -> None:
    with pytest.raises(LookupError):
        async with opened(backend, turn(), "Hello"):
            raise LookupError


# -- many sessions -----------------------------------------------------------------------------------------------------


async def test_sessions_do_not_hear_each_other(models: ScriptedModels, backend: DeviceBackend) -> None:
    topics = ("rivers", "mountains", "deserts", "forests")
    models.writer.replies = {f"User: i like my {topic} a lot": f" I like {topic} too." for topic in topics}
    partials: dict[str, list[str]] = {topic: [] for topic in topics}

    async def converse(topic: str) -> list[ReplyEvent]:
        asked = turn(Message("user", f"My {topic}."), Message("assistant", f"Your {topic}."))
        async with backend.open(asked, on_heard=lambda heard: partials[topic].append(heard.text)) as one:
            for chunk in chunks(spoken(f"I like my {topic} a lot")):
                one.feed(chunk)
                await asyncio.sleep(0.001)
            one.commit()
            return [event async for event in one.reply()]

    replies = await asyncio.gather(*map(converse, topics))
    for topic, events in zip(topics, replies, strict=True):
        assert events[0] == Heard(f"I like my {topic} a lot", is_final=True, end_of_sentence=0.9)
        assert text_of(events) == f"I like {topic} too."
        assert all(f"I like my {topic} a lot".startswith(partial) for partial in partials[topic])
    for prompt in models.writer.prompts:
        assert sum(f"Your {topic}." in prompt for topic in topics) == 1


async def test_leaving_an_exchange_leaves_nothing_behind(nothing_left_behind: None, models: ScriptedModels) -> None:
    models.writer.replies = {"User: tell me about the sea": " It is deep. " * 50}
    with models.library() as library:
        async with opened(device(library), turn(), "Tell me about the sea.") as one:
            events = one.reply()
            await read_until(events, TextDelta)
            await events.aclose()


async def test_preparing_reads_the_skills_and_the_prompt(models: ScriptedModels, backend: DeviceBackend) -> None:
    await backend.prepare()
    assert "what time is it" in models.counter.embedded
    assert [prompt[-8:] for prompt in models.writer.prefilled] == ['t milk"\n', " winter.\n"[-8:]]
    await backend.prepare()
    assert len(models.counter.embedded) == len(set(models.counter.embedded))
