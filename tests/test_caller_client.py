"""The measuring caller against a real edge, over real WebRTC; only the models are scripted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import numpy as np
import pytest

from edge_client.caller.client import Caller
from edge_client.caller.measure import BREATH_SEC
from edge_client.caller.spoken import Reply
from routing.errors import AtCapacity, BackendUnavailable, InvalidRequest
from routing.telemetry import names
from routing.telemetry.program import Telemetry, open_telemetry
from routing.telemetry.settings import TelemetrySettings
from routing.turns import Heard, ReplyEnd, ReplyEvent, Samples, Turn
from tests.edge import running_edge
from tests.scripted import ScriptedBackend, say, tone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]  # real peers, in real time

SPOKEN_SEC = 0.5


def question() -> Samples:
    """Something the scripted detector takes for speech, between silences."""
    return np.concatenate((np.zeros(4800, np.float32), tone(SPOKEN_SEC), np.zeros(2400, np.float32)))


async def nothing(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
    yield Heard("hm", is_final=True, end_of_sentence=1.0)
    yield ReplyEnd()


@pytest.fixture
async def telemetry(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Telemetry]:
    monkeypatch.setattr("edge_client.caller.client.TRACED_SEC", 10.0)  # a busy machine may take its time to tell it
    async with open_telemetry(TelemetrySettings(), service=names.EDGE) as telemetry:
        yield telemetry


def span(reply: Reply, name: str) -> dict[str, Any]:
    """The one of this name in the turn's trace."""
    assert reply.traced is not None
    (found,) = [each for each in reply.traced["spans"] if each["name"] == name]
    return dict(found)


# What follows each other from the last sample of speech to the first one heard.
WAITS = (
    names.NETWORK_UPLINK,
    names.ENDPOINT_WAIT,
    names.FLOOR_WAIT,
    names.ANSWER_WAIT,
    names.FIRST_PACKET,
    names.NETWORK_DOWNLINK,
    names.FIRST_PLAYOUT,
)


async def test_a_turn_is_heard_answered_measured_and_explained(telemetry: Telemetry, nothing_left_behind: None) -> None:
    backend = ScriptedBackend(say("noon", seconds=0.6, heard="what time is it"))
    async with running_edge(backend, traced=telemetry) as edge, Caller.connect(edge.url) as call:
        turn = await call.say(question())
        reply = await call.reply()
    assert turn.speech is not None
    assert turn.speech.duration >= SPOKEN_SEC - 0.01  # a busy machine may speak more slowly
    assert (reply.transcript, reply.answer) == ("what time is it", "noon")
    assert reply.errors == ()
    assert reply.latency.v2v_sec is not None
    assert reply.numbers.endpoint_wait_ms is not None
    assert reply.latency.v2v_sec * 1000 > reply.numbers.endpoint_wait_ms
    assert not reply.latency.early
    assert reply.sound is not None
    assert -0.15 < reply.sound.duration_sec - (0.6 + 2 * BREATH_SEC) < 1.0  # likewise
    assert call.connect_sec is not None
    root, v2v_ms = span(reply, names.TURN), reply.latency.v2v_sec * 1000
    assert reply.traced is not None
    assert (root["attributes"][names.V2V_MS], root["attributes"][names.V2V_MEASURED]) == (round(v2v_ms), "caller")
    assert root["attributes"][names.TURN_ID] == reply.numbers.turn_id == reply.traced["turn_id"]
    assert reply.numbers.trace_id == reply.traced["trace_id"]
    waits_ms = sum(each["duration_ms"] for each in reply.traced["spans"] if each["name"] in WAITS)
    assert waits_ms == pytest.approx(v2v_ms, abs=0.1)
    services = {each["service"] for each in reply.traced["spans"]}
    assert services == {names.EDGE, names.CALLER}


async def test_several_turns_in_one_call_do_not_mix() -> None:
    backend = ScriptedBackend(say("one", seconds=0.3, heard="first"), say("two", seconds=0.3, heard="second"))
    async with running_edge(backend) as edge, Caller.connect(edge.url) as call:
        replies = []
        for _ in range(2):
            await call.say(question())
            replies.append(await call.reply())
    assert [(reply.transcript, reply.answer) for reply in replies] == [("first", "one"), ("second", "two")]
    assert [reply.latency.missed for reply in replies] == [False, False]


async def test_a_barge_in_is_measured_and_both_turns_are_explained(telemetry: Telemetry) -> None:
    backend = ScriptedBackend(say("a long story", seconds=8, heard="tell"), say("ok", seconds=0.3, heard="stop"))
    async with running_edge(backend, traced=telemetry) as edge, Caller.connect(edge.url) as call:
        story = await call.say(question())
        assert await call.audible()
        await asyncio.sleep(0.3)
        await call.say(question(), interrupting=True)
        reply = await call.reply()
    assert (reply.transcript, reply.answer) == ("stop", "ok")
    assert reply.latency.cut_sec is not None
    assert reply.latency.cut_sec < 3
    assert not reply.latency.early
    assert reply.latency.v2v_sec is not None
    cut = story.reply()
    assert cut.transcript == "tell"
    assert 0.2 < cut.latency.reply_sec < 3
    outcomes = [span(each, names.TURN)["attributes"][names.OUTCOME] for each in (cut, reply)]
    assert outcomes == ["interrupted", "ok"]
    assert span(cut, names.INTERRUPT)["begin_ms"] > span(cut, names.FIRST_PLAYOUT)["begin_ms"]


async def test_a_server_that_knows_nothing_of_reports_is_asked_once_and_says_nothing_wrong(
    monkeypatch: pytest.MonkeyPatch, telemetry: Telemetry
) -> None:
    monkeypatch.setattr("edge_client.caller.reporter.PING", "a type that this server has never heard of")
    told: list[dict[str, Any]] = []
    async with (
        running_edge(ScriptedBackend(say("noon", seconds=0.3)), traced=telemetry) as edge,
        Caller.connect(edge.url, on_event=told.append) as call,
    ):
        await call.say(question())
        reply = await call.reply()
    assert (reply.answer, reply.errors, reply.traced) == ("noon", (), None)
    assert [event for event in told if event["type"] == "error" or event["type"].startswith("antiphon")] == []


async def test_a_turn_without_an_answer_is_missed() -> None:
    async with running_edge(ScriptedBackend(nothing)) as edge, Caller.connect(edge.url) as call:
        await call.say(question())
        reply = await call.reply(timeout=2)
    assert reply.latency.missed
    assert reply.sound is None
    assert reply.answer == ""


async def test_silence_cannot_be_said() -> None:
    async with running_edge() as edge, Caller.connect(edge.url) as call:
        with pytest.raises(InvalidRequest, match="silence"):
            await call.say(np.zeros(4800, np.float32))


async def test_everything_the_server_says_is_passed_on() -> None:
    told: list[dict[str, Any]] = []
    async with running_edge() as edge, Caller.connect(edge.url, on_event=told.append) as call:
        await call.say(question())
        await call.reply()
    assert {"session.created", "session.updated", "response.done"} <= {event["type"] for event in told}


async def test_a_server_that_hangs_up_is_noticed() -> None:
    told: list[dict[str, Any]] = []
    async with running_edge() as edge, Caller.connect(edge.url, on_event=told.append) as call:
        call.send({"type": "session.update", "session": {"type": "realtime"}})
        (serving,) = [task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__name__", "") == "_serve"]
        serving.cancel()
        with pytest.raises(BackendUnavailable, match="ended the call"):
            await call.say(np.tile(question(), 10))


# -- calls that do not come about ------------------------------------------------------------------------------------


async def test_nobody_there() -> None:
    with pytest.raises(BackendUnavailable, match=r"nobody takes calls at http://127\.0\.0\.1:9/v1/realtime/calls"):
        async with Caller.connect("127.0.0.1:9"):
            raise AssertionError("connected to nobody")


async def test_a_wrong_key_is_refused_in_the_servers_words(nothing_left_behind: None) -> None:
    async with running_edge(api_keys=("right",)) as edge:
        with pytest.raises(InvalidRequest, match="expected a valid API key"):
            async with Caller.connect(edge.url, key="wrong"):
                raise AssertionError("let in")
        async with Caller.connect(edge.url, key="right") as call:
            assert call.connect_sec is not None


async def test_a_full_edge_says_when_to_come_back() -> None:
    async with running_edge(maximum_sessions=1) as edge, Caller.connect(edge.url):
        with pytest.raises(AtCapacity, match="503") as full:
            async with Caller.connect(edge.url):
                raise AssertionError("let in")
    assert full.value.retry_after_sec == 5
