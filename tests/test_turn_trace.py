"""A session's turns as traces: what is written, when, and what a caller's report adds."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from edge_client.caller_report import CallerReport
from edge_client.endpointer import EndpointerSettings
from edge_client.realtime.server_events import turn_traced
from edge_client.session_events import PlayoutStarted, ReplyDone, TurnTraced
from edge_client.turn_story import Reception, TurnStory
from edge_client.turn_trace import MOST_REPORTED, REPORT_SEC, SessionTracing, TurnFigures
from routing.errors import BackendError, InvalidRequest
from routing.telemetry import names
from routing.telemetry.finished_span import FinishedSpan
from routing.telemetry.phase import Phase
from routing.telemetry.program import Telemetry
from routing.telemetry.spans import Clock, trace_id_of
from routing.turns import REPLY_SAMPLE_RATE, AudioChunk, Heard, ReplyEnd, ReplyEvent, Samples, TextDelta, Turn
from tests.scripted import Script, ScriptedBackend, say, tone
from tests.stage import Stage, on_stage
from tests.virtual_time import on_virtual_time

STRANGER = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}


@asynccontextmanager
async def staged(telemetry: Telemetry, *scripts: Script) -> AsyncIterator[Stage]:
    async with on_stage(ScriptedBackend(*scripts), telemetry=telemetry) as stage:
        yield stage


@pytest.fixture
def telemetry() -> Telemetry:
    """One without a way out: what is written can be read in its book."""
    return Telemetry.within(Clock(now=0.0, epoch_ns=10**18), service=names.EDGE)


def trace_of(stage: Stage, telemetry: Telemetry, turn: int = -1) -> tuple[FinishedSpan, ...]:
    return telemetry.book.trace(stage.got(ReplyDone)[turn].report.trace_id)


def root_of(spans: tuple[FinishedSpan, ...]) -> FinishedSpan:
    (root,) = [span for span in spans if span.name == names.TURN]
    return root


def report(stage: Stage, *, speech_end: float | None = None, heard: float | None = None) -> CallerReport:
    turn_id = stage.got(ReplyDone)[-1].report.turn_id
    return CallerReport(turn_id=turn_id, speech_end=speech_end, heard=heard)


async def halting(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
    for _ in range(2):
        await asyncio.sleep(1)
        yield AudioChunk(tone(0.2), REPLY_SAMPLE_RATE)
    yield ReplyEnd()


async def cut_off(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
    yield TextDelta("It is ")
    yield AudioChunk(tone(0.2), REPLY_SAMPLE_RATE)
    await asyncio.sleep(0.1)
    raise BackendError("the words of a stranger")


async def broken(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
    yield Heard("hello", is_final=True)
    raise BackendError("the words of a stranger")


# -- the trace of a turn -----------------------------------------------------------------------------------------------


@on_virtual_time
async def test_a_turn_is_one_trace_with_the_edge_as_its_root(telemetry: Telemetry) -> None:
    async with staged(telemetry, say("noon", seconds=0.2)) as stage:
        await stage.speak(0.6)
        await stage.pause(2)
        spans = trace_of(stage, telemetry)
    root = root_of(spans)
    assert (root.parent_id, root.service, root.attributes[names.OUTCOME]) == ("", names.EDGE, "ok")
    below = {span.name for span in spans if span.parent_id == root.span_id}
    assert below == {"receive", "vad.segment", "endpoint.wait", "answer.wait", "codec.first_packet", "playout"}
    assert {span.attributes[names.TURN_ID] for span in spans} == {stage.got(ReplyDone)[0].report.turn_id}
    assert root.attributes[names.V2V_MEASURED] == "edge"


@on_virtual_time
async def test_turns_are_linked_one_to_the_next(telemetry: Telemetry) -> None:
    async with staged(telemetry, say("one", seconds=0.2), say("two", seconds=0.2)) as stage:
        for _ in range(2):
            await stage.speak(0.6)
            await stage.pause(2)
        first, second = (root_of(trace_of(stage, telemetry, turn)) for turn in (0, 1))
    assert first.trace_id != second.trace_id
    assert (first.links, second.links) == ((), ((first.trace_id, first.span_id),))


@on_virtual_time
async def test_a_turn_that_was_announced_belongs_to_the_callers_own_trace(telemetry: Telemetry) -> None:
    async with staged(telemetry, say("noon", seconds=0.2)) as stage:
        stage.session.join_trace(STRANGER)
        await stage.speak(0.6)
        await stage.pause(2)
        root = root_of(trace_of(stage, telemetry))
    assert (root.trace_id, root.parent_id) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")


@on_virtual_time
async def test_an_interrupted_turn_says_so_and_how_soon_it_was_silent(telemetry: Telemetry) -> None:
    async with staged(telemetry, say("a long tale", seconds=9), say("yes", seconds=0.2)) as stage:
        await stage.speak(0.6)
        await stage.pause(1.5)
        await stage.speak(1.0)
        await stage.pause(2)
        spans = trace_of(stage, telemetry, 0)
    assert root_of(spans).attributes[names.OUTCOME] == "interrupted"
    (interrupt,) = [span for span in spans if span.name == names.INTERRUPT]
    assert interrupt.duration_ms < 300


@on_virtual_time
async def test_a_turn_that_nobody_could_answer_is_an_error_without_a_strangers_words(telemetry: Telemetry) -> None:
    async with staged(telemetry, broken) as stage:
        await stage.speak(0.6)
        await stage.pause(2)
        spans = trace_of(stage, telemetry)
    root = root_of(spans)
    assert (root.attributes[names.OUTCOME], bool(root.error)) == ("error", True)
    assert "stranger" not in str(spans)


@on_virtual_time
async def test_what_was_heard_of_a_turn_is_told(telemetry: Telemetry) -> None:
    lost = itertools.count(5)
    backend = ScriptedBackend(say("noon", seconds=0.2, end_of_sentence=0.75))
    async with on_stage(backend, telemetry=telemetry, reception=lambda: Reception(lost_packets=next(lost))) as stage:
        await stage.pause(1)
        await stage.speak(0.6)
        await stage.pause(2)
        by_name = {span.name: span for span in trace_of(stage, telemetry)}
    assert by_name["vad.segment"].duration_ms == pytest.approx(600, abs=40)
    assert by_name["receive"].attributes[names.PACKETS_LOST] == 1
    assert by_name["endpoint.wait"].attributes[names.ENDPOINT_TEXT_SCORE] == 0.75


@on_virtual_time
async def test_a_reply_that_waited_for_another_says_so(telemetry: Telemetry) -> None:
    async with staged(telemetry, say("a long tale", seconds=3), say("two", seconds=0.2)) as stage:
        stage.session.create_reply()
        await stage.pause(1)
        stage.session.create_reply()
        await stage.pause(4)
        (waited,) = [span for span in trace_of(stage, telemetry) if span.name == names.FLOOR_WAIT]
    assert waited.duration_ms == pytest.approx(2_000, abs=60)


@on_virtual_time
async def test_a_reply_that_stood_still_is_counted_as_such(telemetry: Telemetry) -> None:
    stories = list[TurnStory]()
    async with staged(telemetry, halting, say("two", seconds=0.2)) as stage:
        stage.session._tracing.on_turn = lambda figures: stories.append(figures.story)
        for _ in range(2):
            stage.session.create_reply()
            await stage.pause(3)
    assert stories[0].starved == pytest.approx(0.8 * REPLY_SAMPLE_RATE, rel=0.05)
    assert stories[1].starved == 0


@on_virtual_time
async def test_a_turn_in_which_another_goes_on_is_a_fallback(telemetry: Telemetry) -> None:
    other = ScriptedBackend(say("noon", seconds=0.2))
    other.name = "other"
    async with on_stage(ScriptedBackend(cut_off), others=[other], telemetry=telemetry) as stage:
        stage.session.create_reply()
        await stage.pause(8)
        root = root_of(trace_of(stage, telemetry))
    assert root.attributes[names.OUTCOME] == "fallback"


@on_virtual_time
async def test_a_cough_leaves_no_trace(telemetry: Telemetry) -> None:
    async with staged(telemetry, say("noon", seconds=0.2)) as stage:
        await stage.speak(0.07)
        await stage.pause(2)
        (turn,) = stage.backend.turns
        assert telemetry.book.trace(trace_id_of(turn.trace_context)) == ()


@on_virtual_time
async def test_a_cough_takes_nothing_from_the_turn_behind_it(telemetry: Telemetry) -> None:
    async with staged(telemetry, say("one", seconds=0.2), say("-"), say("two", seconds=0.2)) as stage:
        await stage.speak(0.6)
        await stage.pause(2)
        stage.session.join_trace(STRANGER)
        await stage.speak(0.07)
        await stage.pause(2)
        await stage.speak(0.6)
        await stage.pause(2)
        first, second = (root_of(trace_of(stage, telemetry, turn)) for turn in (0, 1))
    assert second.links == ((first.trace_id, first.span_id),)
    assert second.parent_id == "b7ad6b7169203331"


@on_virtual_time
async def test_what_a_request_announces_for_a_turn_that_waits_is_linked_to_it(telemetry: Telemetry) -> None:
    async with staged(telemetry, say("one", seconds=0.2), say("two", seconds=0.2)) as stage:
        stage.session.configure(replace(stage.session.options, create_response=False))
        for announced in (STRANGER, {}):
            await stage.speak(0.6)
            await stage.pause(2)
            stage.session.join_trace(announced)
            stage.session.create_reply()
            await stage.pause(2)
        first, second = (root_of(trace_of(stage, telemetry, turn)) for turn in (0, 1))
    assert first.links == (("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"),)
    assert (first.parent_id, second.parent_id) == ("", "")


@on_virtual_time
async def test_a_turn_that_its_caller_ended_begins_with_its_first_sound(telemetry: Telemetry) -> None:
    async with on_stage(telemetry=telemetry, endpointer=EndpointerSettings(mode="manual")) as stage:
        began = 0.0
        for _ in range(2):
            began = asyncio.get_running_loop().time()
            await stage.speak(0.6)
            stage.session.commit_audio()
            stage.session.create_reply()
            await stage.pause(2)
            stage.session.clear_audio()
        root = root_of(trace_of(stage, telemetry))
    assert root.begin_ns == telemetry.spans(names.EDGE).clock.epoch_ns(began)


@on_virtual_time
async def test_a_turn_that_is_asked_again_begins_with_its_first_sound(telemetry: Telemetry) -> None:
    async with staged(telemetry, say("one"), say("two", seconds=0.2)) as stage:
        stage.session.configure(replace(stage.session.options, create_response=False))
        await stage.speak(0.6)
        await stage.pause(2)
        stage.session.create_reply(instructions="loudly")
        await stage.pause(2)
        spans = trace_of(stage, telemetry)
    root = root_of(spans)
    assert all(root.begin_ns <= span.begin_ns <= span.end_ns <= root.end_ns for span in spans)
    assert [span.name for span in spans].count("vad.segment") == 1


@on_virtual_time
async def test_turns_that_come_to_nothing_are_forgotten(telemetry: Telemetry) -> None:
    async with staged(telemetry, say("noon")) as stage:
        sound = tone(0.6)
        stage.session.take_recording(sound, item_id="item_a")
        with pytest.raises(InvalidRequest, match="exists already"):
            stage.session.take_recording(sound, item_id="item_a")  # before anything was begun
        await stage.pause(0.1)
        assert list(stage.session._tracing._open) == [turn.turn_id for turn in stage.backend.turns]
        assert len(stage.backend.turns) == 1


@on_virtual_time
async def test_a_noise_that_was_begun_to_be_answered_was_dropped(telemetry: Telemetry) -> None:
    async with staged(telemetry, say("noon", seconds=0.2, heard="")) as stage:
        await stage.speak(0.6)
        await stage.pause(2)
        (turn,) = stage.backend.turns
        root = root_of(telemetry.book.trace(trace_id_of(turn.trace_context)))
    assert root.attributes[names.OUTCOME] == "dropped"


@on_virtual_time
async def test_a_caller_who_hangs_up_in_the_middle_has_abandoned_the_turn(telemetry: Telemetry) -> None:
    async with staged(telemetry, say("a long tale", seconds=9)) as stage:
        await stage.speak(0.6)
        await stage.pause(1.5)
        (turn,) = stage.backend.turns
    root = root_of(telemetry.book.trace(trace_id_of(turn.trace_context)))
    assert root.attributes[names.OUTCOME] == "abandoned"


# -- what the caller tells ---------------------------------------------------------------------------------------------


@on_virtual_time
async def test_a_report_adds_what_the_caller_felt_and_is_answered_with_the_trace(telemetry: Telemetry) -> None:
    async with staged(telemetry, say("noon", seconds=1.5)) as stage:
        clock = telemetry.spans(names.EDGE).clock
        await stage.speak(0.6)
        await stage.pause(0.8)
        now = clock.epoch_ns(asyncio.get_running_loop().time()) / 1e9
        stage.session.take_report(report(stage, speech_end=now - 0.9, heard=now - 0.1))
        assert not stage.got(TurnTraced)  # the reply is still being played
        await stage.pause(2)
        (traced,) = stage.got(TurnTraced)
        assert traced.spans == telemetry.book.trace(traced.trace_id)
    by_name = {span.name: span for span in traced.spans}
    assert by_name["network.uplink"].service == by_name["playout.first_audio"].service == names.CALLER
    assert by_name["network.uplink"].begin_ns < traced.origin_ns == by_name["endpoint.wait"].begin_ns
    root = by_name[names.TURN]
    assert (root.attributes[names.V2V_MS], root.attributes[names.V2V_MEASURED]) == (800, "caller")


@on_virtual_time
async def test_who_joins_a_strangers_trace_is_not_shown_it(telemetry: Telemetry) -> None:
    async with staged(telemetry, say("noon", seconds=0.2)) as one, staged(telemetry, say("no", seconds=0.2)) as other:
        await one.speak(0.6)
        await one.pause(2)
        other.session.join_trace(one.backend.turns[0].trace_context)
        other.session.expect_reports()
        await other.speak(0.6)
        await other.pause(2)
        other.session.take_report(report(other))
        (traced,) = other.got(TurnTraced)
        joined = one.backend.turns[0].trace_context["traceparent"]
    assert joined.split("-")[1:3] == [traced.trace_id, root_of(traced.spans).parent_id]
    assert {span.attributes[names.TURN_ID] for span in traced.spans} == {traced.turn_id}


async def test_of_a_turn_with_many_attempts_the_last_are_told(telemetry: Telemetry) -> None:
    told = list[TurnTraced]()
    tracing = SessionTracing("sess_test", telemetry)
    trace = tracing.begin("turn_1", 1, TurnStory(opened=1.0))
    attempts = [Phase(name=f"attempt {number}", begin=1.0, end=2.0) for number in range(200)]
    telemetry.spans(names.EDGE).write(attempts, parent=trace.carrier, attributes={names.TURN_ID: "turn_1"})
    tracing.take_report(CallerReport(turn_id="turn_1"), told.append)
    trace.over("ok", None, 3.0)
    assert [span.name for span in told[0].spans][-2:] == ["attempt 199", names.TURN]
    assert len(json.dumps(turn_traced(told[0]))) < 64 * 1024


@on_virtual_time
async def test_a_caller_who_reports_is_waited_for(telemetry: Telemetry) -> None:
    async with staged(telemetry, say("noon", seconds=0.2)) as stage:
        stage.session.expect_reports()
        await stage.speak(0.6)
        await stage.pause(2)
        assert trace_of(stage, telemetry) == ()
        stage.session.take_report(report(stage))
        assert trace_of(stage, telemetry)


@on_virtual_time
async def test_a_caller_who_falls_silent_is_not_waited_for_long(telemetry: Telemetry) -> None:
    async with staged(telemetry, say("noon", seconds=0.2)) as stage:
        stage.session.expect_reports()
        await stage.speak(0.6)
        await stage.pause(2 + REPORT_SEC)
        assert root_of(trace_of(stage, telemetry)).attributes[names.OUTCOME] == "ok"
        with pytest.raises(InvalidRequest, match="turn that was not reported yet"):
            stage.session.take_report(report(stage))


@on_virtual_time
async def test_what_is_not_written_when_the_session_ends_is_written_then(telemetry: Telemetry) -> None:
    async with staged(telemetry, say("noon", seconds=0.2)) as stage:
        stage.session.expect_reports()
        await stage.speak(0.6)
        await stage.pause(2)
    assert root_of(trace_of(stage, telemetry)).attributes[names.OUTCOME] == "ok"


@on_virtual_time
async def test_a_caller_is_told_nothing_of_other_turns_of_the_trace_that_they_joined(telemetry: Telemetry) -> None:
    async with staged(telemetry, say("one", seconds=1.5), say("two", seconds=1.5)) as stage:
        for _ in range(2):
            stage.session.join_trace(STRANGER)
            await stage.speak(0.6)
            await stage.pause(0.8)
            stage.session.take_report(report(stage))
            await stage.pause(2)
    first, second = stage.got(TurnTraced)
    assert first.trace_id == second.trace_id
    assert {span.attributes[names.TURN_ID] for span in second.spans} == {second.turn_id}


@pytest.mark.parametrize("turn_id", ["turn_unknown", ""])
@on_virtual_time
async def test_a_report_of_no_turn_is_refused(telemetry: Telemetry, turn_id: str) -> None:
    async with staged(telemetry) as stage:
        with pytest.raises(InvalidRequest, match="expected the id of a turn"):
            stage.session.take_report(CallerReport(turn_id=turn_id))


async def test_callers_who_never_report_fill_nothing() -> None:
    figures = list[TurnFigures]()
    tracing = SessionTracing("sess_test", Telemetry.silent(), on_turn=figures.append)
    tracing.reports = True
    for number in range(MOST_REPORTED + 10):
        trace = tracing.begin(f"turn_{number}", number, TurnStory(opened=float(number)))
        trace.over("ok", None, number + 1.0)
    assert [each.story.opened for each in figures] == [float(number) for number in range(10)]
    tracing.close()
    assert len(figures) == MOST_REPORTED + 10


@on_virtual_time
async def test_each_turn_is_counted_once(telemetry: Telemetry) -> None:
    figures = list[TurnFigures]()
    async with staged(telemetry, say("noon", seconds=0.2)) as stage:
        stage.session._tracing.on_turn = figures.append
        await stage.speak(0.6)
        await stage.pause(2)
    (counted,) = figures
    assert (counted.outcome, counted.target, counted.measured) == ("ok", "scripted", "edge")
    assert counted.v2v_sec is not None
    assert len(stage.got(PlayoutStarted)) == 1
