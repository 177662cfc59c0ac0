"""Every reply that is asked for ends, and who gives up the floor says nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from edge_client.endpointer import EndpointerSettings
from edge_client.session_events import PlayoutCleared, PlayoutStopped, ReplyDone, ReplyText, UserHeard
from edge_client.utterance import HELD_EVENTS
from routing.errors import BackendError, InvalidRequest
from routing.turns import (
    REPLY_SAMPLE_RATE,
    AudioChunk,
    Exchange,
    Heard,
    Message,
    Reminder,
    ReplyEnd,
    ReplyEvent,
    Samples,
    TextDelta,
    Tool,
    ToolCall,
    Turn,
)
from tests.scripted import ScriptedBackend, say, tone
from tests.stage import Stage, on_stage
from tests.virtual_time import on_virtual_time

MANUAL = EndpointerSettings(mode="manual")


def statuses(stage: Stage) -> list[str]:
    return [done.status for done in stage.got(ReplyDone)]


def final_words(stage: Stage) -> list[str]:
    return [heard.text for heard in stage.got(UserHeard) if heard.is_final]


async def slow_to_hear(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
    if len(audio):
        await asyncio.sleep(1)
        yield Heard("late words", is_final=True, end_of_sentence=1.0)
    yield TextDelta(turn.instructions)
    yield ReplyEnd()


# -- what is asked for ends ------------------------------------------------------------------------------------------


@on_virtual_time
async def test_a_reply_that_is_cancelled_before_it_began_ends_as_cancelled() -> None:
    async with on_stage() as stage:
        stage.session.create_reply()
        stage.session.cancel_reply()
        await stage.pause(1)
    assert stage.kinds == ["ReplyStarted", "ReplyDone"]
    assert statuses(stage) == ["cancelled"]


@on_virtual_time
async def test_a_reply_that_waits_for_another_is_cut_with_it() -> None:
    async with on_stage(ScriptedBackend(say("one", seconds=5.0), say("two"))) as stage:
        stage.session.create_reply()
        await stage.pause(1)
        stage.session.create_reply()
        await stage.pause(0.5)
        await stage.speak(0.6)
        await stage.pause(3)
    assert statuses(stage) == ["completed", "cancelled", "completed"]


@on_virtual_time
async def test_silence_that_was_committed_leaves_the_floor_free() -> None:
    async with on_stage(
        ScriptedBackend(say("", heard=""), say("hello")), endpointer=MANUAL, create_response=False
    ) as stage:
        await stage.speak(0.6)
        stage.session.commit_audio()
        await stage.pause(1)
        stage.session.create_reply()
        await stage.pause(2)
        stage.session.create_reply()
        await stage.pause(2)
    assert statuses(stage) == ["completed", "completed"]


@on_virtual_time
async def test_a_reply_to_silence_that_was_asked_for_ends_without_items() -> None:
    async def wordless(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        await asyncio.sleep(0.3)
        yield Heard("", is_final=True)
        yield ReplyEnd()

    async with on_stage(ScriptedBackend(wordless), endpointer=MANUAL, create_response=False) as stage:
        await stage.speak(0.6)
        stage.session.commit_audio()
        stage.session.create_reply()
        await stage.pause(2)
    assert [(done.status, done.items) for done in stage.got(ReplyDone)] == [("completed", ())]


@on_virtual_time
async def test_a_reply_whose_end_the_backend_forgot_ends_in_an_error() -> None:
    async def forgetful(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        yield TextDelta("and")

    async with on_stage(ScriptedBackend(forgetful)) as stage:
        stage.session.create_reply()
        await stage.pause(1)
    assert stage.got(ReplyDone)[0].error == "the reply has no end"


@on_virtual_time
async def test_a_reply_with_an_empty_piece_of_sound_ends() -> None:
    async def soundless(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        yield TextDelta("hm")
        yield AudioChunk(tone(0), REPLY_SAMPLE_RATE)
        yield ReplyEnd()

    async with on_stage(ScriptedBackend(soundless)) as stage:
        stage.session.create_reply()
        await stage.pause(1)
    assert statuses(stage) == ["completed"]


# -- a turn that waits to be answered --------------------------------------------------------------------------------


@on_virtual_time
async def test_a_request_with_other_options_can_be_cancelled_like_any() -> None:
    async with on_stage(ScriptedBackend(slow_to_hear), endpointer=MANUAL, create_response=False) as stage:
        await stage.speak(0.6)
        stage.session.commit_audio()
        stage.session.create_reply(instructions="loudly")
        with pytest.raises(InvalidRequest, match="one in progress"):
            stage.session.create_reply()
        stage.session.cancel_reply()
        await stage.pause(3)
    assert statuses(stage) == ["cancelled"]
    assert final_words(stage) == ["late words"]


@on_virtual_time
async def test_a_request_with_other_options_tells_the_words_once() -> None:
    async with on_stage(ScriptedBackend(slow_to_hear), create_response=False) as stage:
        await stage.speak(0.6)
        await stage.pause(0.2)
        await stage.speak(0.6)
        await stage.pause(0.8)
        stage.session.create_reply(instructions="loudly")
        await stage.pause(3)
    assert final_words(stage) == ["late words"]
    assert stage.got(ReplyText)[0].delta == "loudly"
    assert stage.got(ReplyDone)[0].report.end_reason == "silence"


class RefusingOnce(ScriptedBackend):
    """Cannot open its first exchange."""

    @asynccontextmanager
    async def open(self, turn: Turn, *, on_heard: Callable[[Heard], None]) -> AsyncIterator[Exchange]:
        if turn.index == 0:
            raise BackendError("not yet")
        async with super().open(turn, on_heard=on_heard) as exchange:
            yield exchange


@on_virtual_time
async def test_a_request_with_other_options_gives_a_refused_turn_another_chance() -> None:
    async with on_stage(RefusingOnce(), endpointer=MANUAL, create_response=False) as stage:
        await stage.speak(0.6)
        stage.session.commit_audio()
        await stage.pause(1)
        stage.session.create_reply(instructions="loudly")
        await stage.pause(2)
    assert statuses(stage) == ["completed"]
    assert final_words(stage) == ["hello there"]


@on_virtual_time
async def test_the_words_of_a_turn_that_nobody_asked_to_answer_are_told_all_the_same() -> None:
    async with on_stage(ScriptedBackend(slow_to_hear), endpointer=MANUAL, create_response=False) as stage:
        await stage.speak(0.6)
        stage.session.commit_audio()
        await stage.speak(0.6)
        stage.session.commit_audio()
        await stage.pause(3)
        assert stage.backend.exchanges[0].closed
    assert final_words(stage) == ["late words", "late words"]


# -- interruptions ---------------------------------------------------------------------------------------------------


@on_virtual_time
async def test_a_turn_that_is_interrupted_before_its_words_are_known_stays_in_the_conversation() -> None:
    async def slow(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        await asyncio.sleep(2)
        yield Heard("first", is_final=True)
        yield TextDelta("never said")
        yield ReplyEnd()

    async with on_stage(ScriptedBackend(slow, say("answer", heard="second"))) as stage:
        await stage.speak(0.6)
        await stage.pause(1)
        await stage.speak(0.6)
        await stage.pause(4)
    assert stage.session.conversation.history() == (
        Message("user", "first"),
        Message("user", "second"),
        Message("assistant", "answer"),
    )
    assert statuses(stage) == ["cancelled", "completed"]
    assert stage.backend.exchanges[0].closed


@on_virtual_time
async def test_words_that_come_behind_a_long_answer_are_told_though_it_was_cut() -> None:
    async def talkative(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        for _ in range(2 * HELD_EVENTS):
            yield TextDelta("and so on ")
            yield AudioChunk(tone(1), REPLY_SAMPLE_RATE)
        await asyncio.sleep(3)
        yield Heard("first", is_final=True)
        yield ReplyEnd()

    async with on_stage(ScriptedBackend(talkative, say("answer", heard="second"))) as stage:
        await stage.speak(0.6)
        await stage.pause(1)
        await stage.speak(0.6)
        await stage.pause(6)
        assert stage.backend.exchanges[0].closed
    assert final_words(stage) == ["second", "first"]
    assert stage.session.conversation.history()[0] == Message("user", "first")


@on_virtual_time
async def test_words_whose_sound_had_not_begun_are_no_history() -> None:
    async def wordy(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        yield Heard("question", is_final=True, end_of_sentence=1.0)
        yield TextDelta("unheard")
        await asyncio.sleep(2)
        yield AudioChunk(tone(1), REPLY_SAMPLE_RATE)
        yield ReplyEnd()

    async with on_stage(ScriptedBackend(wordy, say("answer", heard="wait"))) as stage:
        await stage.speak(0.6)
        await stage.pause(0.6)
        await stage.speak(0.6)
        await stage.pause(2)
    question = Message("user", "question")
    assert stage.backend.turns[1].history == (question,)
    assert stage.session.conversation.history()[:2] == (question, Message("user", "wait"))


@on_virtual_time
async def test_a_cut_in_the_second_message_of_a_reply_keeps_the_first() -> None:
    async def twofold(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        yield TextDelta("one")
        yield AudioChunk(tone(1), REPLY_SAMPLE_RATE)
        yield ToolCall("call_1", "count", "{}")
        yield TextDelta("two three four five")
        yield AudioChunk(tone(4), REPLY_SAMPLE_RATE)
        yield ReplyEnd()

    async with on_stage(ScriptedBackend(twofold), tools=(Tool("count", "Counts.", {}),)) as stage:
        stage.session.create_reply()
        await stage.pause(3.5)
        stage.session.silence()
    spoken = [item.text for item in stage.session.conversation.history() if isinstance(item, Message)]
    assert spoken == ["one", "two three"]


@on_virtual_time
async def test_what_was_cut_is_not_said_to_have_been_heard_out() -> None:
    async with on_stage(ScriptedBackend(say("long", seconds=5.0))) as stage:
        stage.session.create_reply()
        await stage.pause(1)
        stage.session.silence()
        await stage.pause(1)
    assert len(stage.got(PlayoutCleared)) == 1
    assert not stage.got(PlayoutStopped)


@pytest.mark.parametrize("ticks", range(6))
def test_nothing_is_told_after_the_cut_whenever_it_comes(ticks: int) -> None:
    @on_virtual_time
    async def story() -> None:
        more = asyncio.Event()

        async def script(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
            yield TextDelta("once")
            await more.wait()
            yield AudioChunk(tone(1), REPLY_SAMPLE_RATE)
            yield TextDelta("upon")
            await asyncio.sleep(60)

        async with on_stage(ScriptedBackend(script)) as stage:
            stage.session.create_reply()
            await stage.pause(1)
            more.set()
            for _ in range(ticks):
                await asyncio.sleep(0)
            stage.session.silence()
            await stage.pause(1)
        assert stage.kinds[-1] == "ReplyDone"
        assert stage.loud_sec < 0.03

    story()


@on_virtual_time
async def test_a_noise_before_the_reply_is_audible_does_not_cost_the_answer() -> None:
    async def pensive(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        yield Heard("question", is_final=True, end_of_sentence=1.0)
        await asyncio.sleep(1)
        async for event in say("answer")(turn, audio[:0]):
            yield event

    async with on_stage(ScriptedBackend(pensive, say("", heard=""))) as stage:
        await stage.speak(0.6)
        await stage.pause(0.5)
        await stage.speak(0.3)
        await stage.pause(4)
    assert statuses(stage) == ["completed"]
    assert stage.loud_sec == pytest.approx(1.0, abs=0.03)


@on_virtual_time
async def test_a_reply_does_not_begin_into_the_users_first_sound() -> None:
    async def pensive(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        yield Heard("question", is_final=True, end_of_sentence=1.0)
        await asyncio.sleep(1)
        async for event in say("answer")(turn, audio[:0]):
            yield event

    async with on_stage(ScriptedBackend(pensive)) as stage:
        await stage.speak(0.6)
        await stage.pause(0.9)
        await stage.speak(0.12)
        await stage.pause(0.14)
        assert stage.loud_sec == 0
        await stage.pause(3)
    assert stage.loud_sec == pytest.approx(1.0, abs=0.03)


@on_virtual_time
async def test_where_nobody_may_interrupt_the_reply_does_not_fall_silent() -> None:
    async with on_stage(ScriptedBackend(say("long", seconds=3.0)), interrupt_response=False) as stage:
        await stage.speak(0.6)
        await stage.pause(0.5)
        before = stage.loud_sec
        await stage.speak(0.5)
        assert stage.loud_sec == pytest.approx(before + 0.5, abs=0.03)


# -- reminders and the end -------------------------------------------------------------------------------------------


@on_virtual_time
async def test_a_reminder_that_is_due_does_not_take_the_floor_from_who_interrupts() -> None:
    async def remind(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        if turn.script is None:
            yield Heard("timer", is_final=True, end_of_sentence=1.0)
            yield Reminder(2, "Time is up")
        async for event in say(turn.script or "long", seconds=1 if turn.script else 5)(turn, audio[:0]):
            yield event

    async with on_stage(ScriptedBackend(remind, say("go on", heard="wait"), remind)) as stage:
        await stage.speak(0.6)
        await stage.pause(3.5)
        await stage.speak(0.6)
        before = stage.loud_sec
        await stage.speak(2)
        assert stage.loud_sec == before
        await stage.pause(6)
    assert [text.delta for text in stage.got(ReplyText)] == ["long", "go on", "Time is up"]


@on_virtual_time
async def test_what_is_begun_after_the_end_ends_at_once() -> None:
    async with on_stage() as stage:
        stage.session.close()
        stage.session.create_reply()
        await asyncio.sleep(1)
        assert not stage.got(ReplyDone)
