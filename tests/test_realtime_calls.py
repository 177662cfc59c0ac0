"""Calls over WebRTC, through a real aiortc peer; only the models are scripted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.edge import RunningEdge, running_edge
from tests.peers import Caller
from tests.scripted import ScriptedBackend, say, tone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]  # real peers, in real time

SPEECH = tone(0.6)


@asynccontextmanager
async def calling(edge: RunningEdge, *, channel: str | None = "oai-events") -> AsyncIterator[Caller]:
    async with Caller(channel=channel) as caller:
        answer = await offer(edge, await caller.offer())
        assert answer.status_code == 201, answer.text
        await caller.accept(answer.text)
        await caller.connected()
        if channel:
            await caller.event("session.created")
        yield caller


async def offer(edge: RunningEdge, sdp: str, *, content_type: str = "application/sdp") -> httpx.Response:
    return await post(edge, "/v1/realtime/calls", content=sdp, headers={"Content-Type": content_type})


async def post(edge: RunningEdge, path: str, **request: object) -> httpx.Response:
    async with httpx.AsyncClient(base_url=edge.url) as client:
        return await client.post(path, **request)  # type: ignore[arg-type]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_spoken_turn_is_heard_and_answered(nothing_left_behind: None) -> None:
    async with running_edge(ScriptedBackend(say("hello you", heard="hi"))) as edge, calling(edge) as caller:
        caller.microphone.say(SPEECH)
        await caller.event("output_audio_buffer.stopped")
        heard = [event["type"] for event in caller.events]
        assert any(block.loud for block in caller.heard)
    story = [
        "session.created",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.completed",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "output_audio_buffer.started",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
        "output_audio_buffer.stopped",
    ]
    assert heard == story


async def test_barge_in_silences_the_reply_and_the_next_turn_is_answered() -> None:
    backend = ScriptedBackend(say("a very long story", seconds=20), say("yes?", heard="wait"))
    async with running_edge(backend) as edge, calling(edge) as caller:
        caller.microphone.say(SPEECH)
        await caller.event("output_audio_buffer.started")
        await caller.sound()
        caller.microphone.say(SPEECH)
        await caller.event("input_audio_buffer.speech_started")
        cleared = await caller.event("output_audio_buffer.cleared")
        truncated = await caller.event("conversation.item.truncated")
        done = await caller.event("response.done")
        await caller.event("output_audio_buffer.stopped")
    assert 0 < truncated["audio_end_ms"] < 5000
    assert cleared["response_id"] != done["response"]["id"]  # the first reply was made long before it was cut
    assert done["response"]["status"] == "completed"


async def test_two_callers_do_not_hear_each_other() -> None:
    async with running_edge() as edge, calling(edge) as speaking, calling(edge) as silent:
        speaking.microphone.say(SPEECH)
        await speaking.event("output_audio_buffer.stopped")
        assert any(block.loud for block in speaking.heard)
        assert not any(block.loud for block in silent.heard)
        assert [event["type"] for event in silent.events] == ["session.created"]


async def test_a_caller_without_a_data_channel_is_answered_all_the_same() -> None:
    async with running_edge() as edge, calling(edge, channel=None) as caller:
        caller.microphone.say(SPEECH)
        await caller.sound()


async def test_a_caller_who_vanishes_is_let_go(nothing_left_behind: None) -> None:
    peer = {"vanish_timeout_sec": 2.0}  # so long the loop of both callers does not stand still
    async with running_edge(peer=peer) as edge, calling(edge) as caller, calling(edge) as other:
        caller.vanish()
        await until(lambda: edge.edge.sessions == 1)
        other.microphone.say(SPEECH)
        await other.event("response.done")


async def test_an_answer_that_nobody_takes_is_given_up(nothing_left_behind: None) -> None:
    async with running_edge(peer={"connect_timeout_sec": 0.3}) as edge, Caller() as caller:
        assert (await offer(edge, await caller.offer())).status_code == 201
        assert edge.edge.sessions == 1
        await until(lambda: edge.edge.sessions == 0)


async def test_a_call_is_hung_up_by_its_id() -> None:
    async with running_edge() as edge, Caller() as caller:
        answer = await offer(edge, await caller.offer())
        await caller.accept(answer.text)
        await caller.connected()
        assert (await post(edge, f"{answer.headers['Location']}/hangup")).status_code == 200
        await until(lambda: edge.edge.sessions == 0)
        unknown = await post(edge, f"{answer.headers['Location']}/hangup")
    assert unknown.status_code == 404
    assert unknown.json()["error"]["code"] == "call_not_found"


async def test_a_form_brings_the_session_along() -> None:
    session = {"type": "realtime", "instructions": "Be brief.", "output_modalities": ["text"]}
    backend = ScriptedBackend(say("brief", heard="hi"))
    async with running_edge(backend) as edge, Caller() as caller:
        form = {
            "sdp": (None, await caller.offer(), "application/sdp"),
            "session": (None, json.dumps(session), "application/json"),
        }
        answer = await post(edge, "/v1/realtime/calls", files=form)
        await caller.accept(answer.text)
        created = await caller.event("session.created")
        caller.microphone.say(SPEECH)
        await caller.event("response.output_text.done")
    assert created["session"]["instructions"] == "Be brief."
    assert backend.turns[0].instructions == "Be brief."


async def test_what_an_offer_asks_is_laid_over_what_its_secret_brings() -> None:
    secret = {"audio": {"input": {"turn_detection": None}}}
    form_session = json.dumps({"audio": {"output": {"voice": "other"}}})
    async with running_edge() as edge, Caller() as caller:
        made = await post(edge, "/v1/realtime/client_secrets", json={"session": secret})
        form = {"sdp": (None, await caller.offer(), "application/sdp"), "session": (None, form_session)}
        key = {"Authorization": f"Bearer {made.json()['value']}"}
        answer = await post(edge, "/v1/realtime/calls", files=form, headers=key)
        await caller.accept(answer.text)
        audio = (await caller.event("session.created"))["session"]["audio"]
    assert audio["input"]["turn_detection"] is None
    assert audio["output"]["voice"] == "other"


async def test_beyond_the_last_place_callers_are_told_to_come_back() -> None:
    async with running_edge(maximum_sessions=1) as edge, calling(edge), Caller() as second:
        refused = await offer(edge, await second.offer())
    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "5"
    assert refused.json()["error"]["code"] == "at_capacity"


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        ("", "application/sdp", 400, "invalid_offer"),
        ("v=0\r\nnonsense", "application/sdp", 400, "invalid_offer"),
        ("{}", "application/json", 400, "unsupported_content_type"),
        ("x", "", 400, "unsupported_content_type"),
        ("no boundary", "multipart/form-data", 400, None),
        ("v" * 10_000_000, "application/sdp", 413, "body_too_large"),
    ],
    ids=["empty", "malformed", "json", "no type", "broken form", "10 MB"],
)
async def test_hostile_offers_are_refused_and_harm_nobody(
    nothing_left_behind: None, body: str, content_type: str, status: int, code: str | None
) -> None:
    async with running_edge() as edge, calling(edge) as caller:
        refused = await offer(edge, body, content_type=content_type)
        assert refused.status_code == status, refused.text
        assert code in (None, refused.json()["error"]["code"])
        assert edge.edge.sessions == 1
        caller.microphone.say(SPEECH)
        await caller.event("response.done")


async def test_hostile_messages_are_answered_with_errors_and_the_call_goes_on() -> None:
    async with running_edge() as edge, calling(edge) as caller:
        assert caller.channel
        for message in ("{", "[]", '"text"', '{"type": 3}', '{"type": "no.such.event", "event_id": "e1"}'):
            caller.channel.send(message)
            assert (await caller.event("error"))["error"]["message"].startswith("expected")
        assert caller.events[-1]["error"]["event_id"] == "e1"
        caller.send({"type": "input_audio_buffer.append", "audio": "AAAA"})
        assert "microphone" in (await caller.event("error"))["error"]["message"]
        caller.channel.send(b"binary")
        assert (await caller.event("error"))["error"]["code"] == "invalid_event"
        caller.microphone.say(SPEECH)
        await caller.event("response.done")


async def test_a_caller_who_sends_events_without_end_is_told_and_slowed() -> None:
    async with running_edge(limits={"events_per_sec": 10}) as edge, calling(edge) as caller:
        wire = caller.channel
        assert wire
        for number in range(120):
            wire.send(json.dumps({"type": "nonsense", "event_id": str(number)}))
        await caller.until(lambda: "rate_limit_exceeded" in error_codes(caller))
        caller.microphone.say(SPEECH)
        await caller.event("response.done")
        await caller.until(lambda: error_codes(caller).count("unknown_event") == 120)  # late, and not lost
        assert error_codes(caller).count("rate_limit_exceeded") == 1


def error_codes(caller: Caller) -> list[str]:
    return [event["error"]["code"] for event in caller.events if event["type"] == "error"]
