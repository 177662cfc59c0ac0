"""A session's stories: turns, pauses, interruptions and coughs, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from edge_client.conversation import MessageItem, SpokenText, ToolResultItem
from edge_client.endpointer import EndpointerSettings
from edge_client.session_events import (
    ItemTruncated,
    PlayoutCleared,
    PlayoutStopped,
    ReplyDone,
    ReplyText,
    ReplyToolCall,
    UserHeard,
    UserStarted,
    UserStopped,
)
from routing.errors import BackendError, InvalidRequest
from routing.turns import (
    Heard,
    Message,
    Reminder,
    ReplyEnd,
    ReplyEvent,
    Samples,
    TextDelta,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from tests.scripted import ScriptedBackend, ScriptedJudge, say, tone
from tests.stage import on_stage
from tests.virtual_time import on_virtual_time


@on_virtual_time
async def test_a_spoken_turn_is_answered() -> None:
    async with on_stage(ScriptedBackend(say("hello you", heard="hi"))) as stage:
        await stage.speak(0.6)
        await stage.pause(2)
    assert stage.kinds == [
        "UserStarted",
        "UserStopped",
        "UserCommitted",
        "UserHeard",
        "ReplyStarted",
        "ReplyItemStarted",
        "ReplyText",
        "ReplyAudio",
        "PlayoutStarted",
        "ReplyItemDone",
        "ReplyDone",
        "PlayoutStopped",
    ]
    assert stage.loud_sec == pytest.approx(1.0, abs=0.03)
    assert stage.session.conversation.history() == (Message("user", "hi"), Message("assistant", "hello you"))


@on_virtual_time
async def test_the_report_names_the_waits_and_the_placement() -> None:
    async with on_stage(ScriptedBackend(say("hello", heard="hi"))) as stage:
        await stage.speak(0.6)
        await stage.pause(2)
    report = stage.got(ReplyDone)[0].report
    assert 256 <= report.timings_ms["endpoint_wait"] <= 320
    assert report.timings_ms["ttfa"] <= 21
    assert report.placement
    assert report.placement.backend == "scripted"
    assert report.end_reason == "semantic"


@on_virtual_time
async def test_what_is_made_on_speculation_is_held_until_the_turn_is_over() -> None:
    incomplete = ScriptedJudge(0.0)
    backend = ScriptedBackend(say("hello", heard="hi", end_of_sentence=0.0))
    async with on_stage(backend, judge=incomplete) as stage:
        await stage.speak(0.6)
        await stage.pause(1.0)
        exchange = backend.exchanges[0]
        assert (exchange.begun, exchange.committed) == (1, False)
        assert stage.kinds == ["UserStarted"]
        assert stage.loud_sec == 0
        await stage.pause(2.0)
        assert (exchange.begun, exchange.committed) == (1, True)
        assert stage.loud_sec == pytest.approx(1.0, abs=0.03)


@on_virtual_time
async def test_a_user_who_goes_on_rolls_the_speculation_back() -> None:
    backend = ScriptedBackend(say("hello", heard="hi"))
    async with on_stage(backend) as stage:
        await stage.speak(0.6)
        await stage.pause(0.2)
        await stage.speak(0.6)
        await stage.pause(2.0)
    exchange = backend.exchanges[0]
    assert len(backend.exchanges) == 1
    assert exchange.begun == 2
    assert len(stage.got(ReplyDone)) == 1
    assert len(exchange.audio) == pytest.approx(1.4 * 16000, abs=0.45 * 16000)


@on_virtual_time
async def test_barge_in_stops_the_reply_and_keeps_what_was_heard() -> None:
    words = "one two three four five six seven eight nine ten"
    async with on_stage(ScriptedBackend(say(words, seconds=5.0, heard="count"), say("ok"))) as stage:
        await stage.speak(0.6)
        await stage.pause(2.3)  # 0.3 s of wait, then 2 s of the reply
        await stage.speak(0.6)
        loud = stage.loud_sec
        cut = stage.got(ReplyDone)[0]
        assert cut.status == "cancelled" or stage.got(PlayoutCleared)
        assert stage.got(ItemTruncated)[0].audio_end_ms == pytest.approx(loud * 1000, abs=25)
        await stage.pause(2)
    history = stage.backend.turns[1].history
    assert history[0] == Message("user", "count")
    assert history[1] in (Message("assistant", "one two three"), Message("assistant", "one two three four"))
    assert stage.backend.exchanges[0].closed


@on_virtual_time
async def test_the_reply_falls_silent_at_the_first_sound_of_the_user() -> None:
    async with on_stage(ScriptedBackend(say("long story", seconds=5.0), say("ok"))) as stage:
        await stage.speak(0.6)
        await stage.pause(2.0)
        before = stage.loud_sec
        await stage.speak(0.1)
        assert stage.loud_sec == pytest.approx(before + 0.08, abs=0.05)
        assert not stage.got(PlayoutCleared)


@on_virtual_time
async def test_after_a_cough_the_reply_goes_on_where_it_stopped() -> None:
    async with on_stage(ScriptedBackend(say("long story", seconds=3.0))) as stage:
        await stage.speak(0.6)
        await stage.pause(1.0)
        await stage.speak(0.1)
        await stage.pause(4.0)
    assert len(stage.got(UserStarted)) == 1
    assert not stage.got(PlayoutCleared)
    assert stage.loud_sec == pytest.approx(3.0, abs=0.05)
    assert stage.session.conversation.history()[-1] == Message("assistant", "long story")


@pytest.mark.parametrize(("words", "turns"), [("uh-huh", 1), ("stop", 2)])
def test_a_short_word_into_the_reply_is_judged_by_what_it_says(words: str, turns: int) -> None:
    @on_virtual_time
    async def story() -> None:
        backend = ScriptedBackend(say("long story", seconds=3.0), say("fine", heard=words))
        async with on_stage(backend) as stage:
            await stage.speak(0.6)
            await stage.pause(1.0)
            await stage.speak(0.2)
            await stage.pause(5.0)
        assert len(stage.got(UserStarted)) == turns
        assert bool(stage.got(PlayoutCleared)) == (turns == 2)

    story()


@on_virtual_time
async def test_speech_without_words_is_not_a_turn() -> None:
    async with on_stage(ScriptedBackend(say("hello", heard=""))) as stage:
        await stage.speak(0.6)
        await stage.pause(3)
    assert not stage.got(ReplyDone)
    assert len(stage.got(UserStarted)) == len(stage.got(UserStopped)) == 1
    assert stage.session.conversation.history() == ()


@on_virtual_time
async def test_words_that_come_late_are_told_before_the_reply() -> None:
    async def slow(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        await asyncio.sleep(3)
        async for event in say("sorry for the wait", heard="hurry")(turn, audio):
            yield event

    async with on_stage(ScriptedBackend(slow)) as stage:
        await stage.speak(0.6)
        await stage.pause(6)
    assert stage.kinds[:5] == ["UserStarted", "UserStopped", "UserCommitted", "UserHeard", "ReplyStarted"]
    assert stage.got(UserHeard)[0].text == "hurry"


@on_virtual_time
async def test_a_backend_that_fails_ends_the_turn_in_an_error_and_not_the_session() -> None:
    async def broken(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        yield Heard("hi", is_final=True, end_of_sentence=1.0)
        raise BackendError("the model is on fire")

    async with on_stage(ScriptedBackend(broken, say("better now"))) as stage:
        await stage.speak(0.6)
        await stage.pause(1)
        await stage.speak(0.6)
        await stage.pause(2)
    first, second = stage.got(ReplyDone)
    assert (first.status, first.error) == ("failed", "the model is on fire")
    assert second.status == "completed"


@on_virtual_time
async def test_a_backend_with_a_bug_ends_the_turn_in_an_error_and_not_the_session() -> None:
    async def buggy(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        yield Heard("hi", is_final=True, end_of_sentence=1.0)
        raise ZeroDivisionError

    async with on_stage(ScriptedBackend(buggy, say("better now"))) as stage:
        await stage.speak(0.6)
        await stage.pause(1)
        await stage.speak(0.6)
        await stage.pause(2)
    assert [done.status for done in stage.got(ReplyDone)] == ["failed", "completed"]


@on_virtual_time
async def test_a_tool_call_and_its_result() -> None:
    async def call(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        yield Heard("weather", is_final=True, end_of_sentence=1.0)
        yield ToolCall("call_1", "get_weather", '{"city": "Paris"}')
        yield ReplyEnd()

    tools = (Tool("get_weather", "Tells the weather.", {"type": "object"}),)
    async with on_stage(ScriptedBackend(call, say("It is sunny")), tools=tools) as stage:
        await stage.speak(0.6)
        await stage.pause(1)
        assert stage.got(ReplyToolCall)[0].item.call.name == "get_weather"
        stage.session.conversation.add(ToolResultItem(id="item_r", result=ToolResult("call_1", "sunny")))
        stage.session.create_reply()
        await stage.pause(2)
    assert stage.backend.turns[1].history == (
        Message("user", "weather"),
        ToolCall("call_1", "get_weather", '{"city": "Paris"}'),
        ToolResult("call_1", "sunny"),
    )
    assert stage.got(ReplyText)[-1].delta == "It is sunny"


@on_virtual_time
async def test_typed_words_are_answered_in_text() -> None:
    async with on_stage(ScriptedBackend(say("typed back")), modality="text") as stage:
        typed = MessageItem(id="item_1", role="user", medium="text", pieces=[SpokenText("hello")])
        stage.session.conversation.add(typed)
        stage.session.create_reply()
        await stage.pause(1)
    assert stage.got(ReplyDone)[0].status == "completed"
    assert stage.loud_sec == 0
    assert stage.session.conversation.history() == (
        Message("user", "hello"),
        Message("assistant", "typed back"),
    )


@on_virtual_time
async def test_push_to_talk_answers_on_request_only() -> None:
    manual = EndpointerSettings(mode="manual")
    async with on_stage(
        ScriptedBackend(say("yes?", heard="are you there")), endpointer=manual, create_response=False
    ) as stage:
        await stage.speak(0.6)
        stage.session.commit_audio()
        await stage.pause(2)
        assert stage.got(UserHeard)[0].text == "are you there"
        assert not stage.got(ReplyDone)
        stage.session.create_reply()
        await stage.pause(2)
        assert stage.got(ReplyDone)[0].status == "completed"
        stage.session.clear_audio()
        with pytest.raises(InvalidRequest, match="got none"):
            stage.session.commit_audio()


@on_virtual_time
async def test_a_second_reply_at_once_is_refused() -> None:
    async def endless(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        while True:
            yield TextDelta("la ")
            await asyncio.sleep(0.5)

    async with on_stage(ScriptedBackend(endless)) as stage:
        stage.session.create_reply()
        await stage.pause(1)
        stage.session.cancel_reply()
        await stage.pause(0.1)
        stage.session.create_reply()
        with pytest.raises(InvalidRequest) as refusal:
            stage.session.create_reply()
    assert refusal.value.code == "conversation_already_has_active_response"
    assert stage.got(ReplyDone)[0].cut_reason == "client_cancelled"


@on_virtual_time
async def test_a_reminder_is_said_when_its_time_has_come() -> None:
    async def remind(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        if turn.script:
            async for event in say(turn.script)(turn, audio):
                yield event
            return
        yield Heard("timer", is_final=True, end_of_sentence=1.0)
        yield Reminder(60, "Time is up")
        async for event in say("set", heard="timer")(turn, audio):
            yield event

    async with on_stage(ScriptedBackend(remind)) as stage:
        await stage.speak(0.6)
        await stage.pause(50)
        assert len(stage.got(ReplyDone)) == 1
        await stage.pause(20)
    assert stage.got(ReplyText)[-1].delta == "Time is up"
    assert len(stage.got(PlayoutStopped)) == 2


@on_virtual_time
async def test_a_stream_that_stops_in_the_middle_of_a_turn_is_answered_all_the_same() -> None:
    async with on_stage(ScriptedBackend(say("are you still there?", heard="hello"))) as stage:
        await stage.speak(0.6)
        await asyncio.sleep(4)
    assert stage.got(ReplyDone)[0].status == "completed"


@on_virtual_time
async def test_without_interruption_two_replies_follow_each_other_and_one_clear_ends_both() -> None:
    backend = ScriptedBackend(say("first", seconds=3.0), say("second", seconds=3.0))
    async with on_stage(backend, interrupt_response=False) as stage:
        await stage.speak(0.6)
        await stage.pause(1.0)
        await stage.speak(0.6)
        await stage.pause(1.0)
        assert len(stage.got(ReplyDone)) == 1
        stage.session.silence()
        await stage.pause(3.0)
    assert [done.status for done in stage.got(ReplyDone)] == ["completed", "cancelled"]
    assert len(stage.got(PlayoutCleared)) == 1
    assert stage.loud_sec < 2.6
    assert all(exchange.closed for exchange in backend.exchanges)


@on_virtual_time
async def test_a_judge_that_fails_costs_the_turn_nothing_but_time() -> None:
    class Failing(ScriptedJudge):
        async def completeness(self, samples: Samples) -> float:
            raise ValueError("no such sound")

    async with on_stage(judge=Failing()) as stage:
        await stage.speak(0.6)
        await stage.pause(4)
    assert [done.status for done in stage.got(ReplyDone)] == ["completed"]


@on_virtual_time
async def test_what_came_in_after_the_turn_is_known_to_the_reply_that_is_asked_for() -> None:
    async def echo(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        yield Heard("question", is_final=True)
        yield TextDelta(f"{turn.instructions}, {turn.history}")
        yield ReplyEnd()

    async with on_stage(ScriptedBackend(echo), create_response=False) as stage:
        await stage.speak(0.6)
        await stage.pause(2)
        note = MessageItem(id="note", role="system", medium="text", pieces=[SpokenText("It rains.")])
        stage.session.conversation.add(note)
        stage.session.configure(replace(stage.session.options, instructions="be brief"))
        stage.session.create_reply()
        await stage.pause(1)
    known = (Message("system", "It rains."),)
    assert [text.delta for text in stage.got(ReplyText)] == [f"be brief, {known}"]
    assert len(stage.got(UserHeard)) == 1


@on_virtual_time
async def test_a_recording_under_a_known_id_leaves_no_turn_open() -> None:
    async with on_stage() as stage:
        stage.session.take_recording(tone(0.5), item_id="item_1")
        with pytest.raises(InvalidRequest, match="item_1"):
            stage.session.take_recording(tone(0.5), item_id="item_1")
        await stage.pause(1)
        assert [exchange.closed for exchange in stage.backend.exchanges] == [False]


@on_virtual_time
async def test_without_interruption_both_replies_are_heard_to_their_end() -> None:
    backend = ScriptedBackend(say("first", seconds=3.0), say("second", seconds=3.0))
    async with on_stage(backend, interrupt_response=False) as stage:
        await stage.speak(0.6)
        await stage.pause(1.0)
        await stage.speak(0.6)
        await stage.pause(7.0)
    assert stage.loud_sec == pytest.approx(6.0, abs=0.1)
    assert [done.status for done in stage.got(ReplyDone)] == ["completed", "completed"]


@on_virtual_time
async def test_a_reply_to_what_was_said_in_private_is_private_and_others_know_nothing_of_it() -> None:
    async def remind(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        yield Heard("remind me of the money", is_final=True, end_of_sentence=1.0)
        yield Reminder(3.0, "The money!")
        yield ReplyEnd()

    backend = ScriptedBackend(remind, say("so it is", heard="indeed"))
    async with on_stage(backend) as stage:
        stage.session.configure(replace(stage.session.options, privacy="device_only"))
        await stage.speak(0.6)
        await stage.pause(1)
        stage.session.configure(replace(stage.session.options, privacy="any"))
        await stage.pause(4)
        stage.session.create_reply()
        await stage.pause(1)
        await stage.speak(0.6)
        await stage.pause(2)
    assert [turn.privacy for turn in backend.turns] == ["device_only", "device_only", "device_only", "any"]
    assert backend.turns[1].script == "The money!"
    assert backend.turns[3].history == ()


@on_virtual_time
async def test_what_was_asked_in_private_is_kept_from_later_turns() -> None:
    backend = ScriptedBackend(
        say("hm", heard="my secret"), say("sure", heard="my secret"), say("indeed", heard="hello")
    )
    async with on_stage(backend, create_response=False) as stage:
        await stage.speak(0.6)
        await stage.pause(1)
        stage.session.create_reply(privacy="device_only")
        await stage.pause(2)
        stage.session.conversation.add(
            MessageItem(id="item_1", role="user", medium="text", pieces=[SpokenText("hush")])
        )
        stage.session.create_reply(privacy="device_only")
        await stage.pause(2)
        await stage.speak(0.6)
        await stage.pause(1)
    assert [turn.privacy for turn in backend.turns] == ["any", "device_only", "device_only", "any"]
    assert Message("user", "hush") in backend.turns[2].history
    assert backend.turns[3].history == ()


@on_virtual_time
async def test_a_session_is_at_rest_only_between_turns() -> None:
    async with on_stage(ScriptedBackend(say("hello", seconds=1.0, heard="hi"))) as stage:
        rests = [stage.session.is_at_rest]
        await stage.speak(0.6)
        rests.append(stage.session.is_at_rest)
        await stage.pause(0.5)
        assert stage.loud_sec > 0
        rests.append(stage.session.is_at_rest)
        await stage.pause(2.0)
        rests.append(stage.session.is_at_rest)
    assert rests == [True, False, False, True]


@on_virtual_time
async def test_a_session_goes_on_with_what_another_one_leaves() -> None:
    async def promising(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        yield Heard("hi", is_final=True, end_of_sentence=1.0)
        yield TextDelta("hello")
        yield Reminder(10.0, "tea")
        yield ReplyEnd()

    async with on_stage(ScriptedBackend(promising)) as stage:
        mark = stage.session.mark
        await stage.speak(0.6)
        await stage.pause(3)
        assert stage.session.mark != mark
        past = stage.session.past()
    assert [promise.text for promise in past.promises] == ["tea"]
    assert past.promises[0].due_sec < 10.0
    backend = ScriptedBackend(say("again", heard="me"), say("tea is ready"))
    async with on_stage(backend, past=past) as stage:
        await stage.speak(0.6)
        await stage.pause(12)
        assert [item.id for item in past.items] == [item.id for item in stage.session.conversation.settled()][:2]
    assert backend.turns[0].history == (Message("user", "hi"), Message("assistant", "hello"))
    assert [turn.index for turn in backend.turns] == [1, 2]
    assert backend.turns[1].script == "tea"
