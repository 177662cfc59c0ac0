"""Server events in the order in which servers send them, and in the orders in which they may."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from edge_client.audio import float_to_pcm16
from edge_client.upstream.client_events import Json
from edge_client.upstream.reader import ReplyReader
from routing.errors import AtCapacity, BackendError, BackendUnavailable
from routing.turns import AudioChunk, Heard, ReplyEvent, TextDelta, ToolCall
from tests.scripted import tone

HEARD = "conversation.item.input_audio_transcription"
COMPLETED: Json = {"type": f"{HEARD}.completed", "item_id": "item_1", "transcript": " hello there "}
DONE: Json = {"type": "response.done", "response": {"status": "completed", "usage": None}}


def words(text: str) -> Json:
    return {"type": "response.output_audio_transcript.delta", "delta": text}


def sound(seconds: float) -> Json:
    data = base64.b64encode(float_to_pcm16(tone(seconds))).decode()
    return {"type": "response.output_audio.delta", "delta": data}


class Reading:
    """A reader, and what it said."""

    def __init__(self, *, spoken: bool = True) -> None:
        self.partials: list[str] = []
        self.reader = ReplyReader(spoken=spoken, on_heard=lambda heard: self.partials.append(heard.text))

    def read(self, *events: Json) -> list[ReplyEvent]:
        return [told for event in events for told in self.reader.read(event)]


def test_words_of_the_user_grow_until_they_are_final() -> None:
    reading = Reading()
    deltas = ({"type": f"{HEARD}.delta", "delta": text} for text in ("hel", "lo there"))
    assert reading.read(*deltas, COMPLETED) == [Heard("hello there", is_final=True)]
    assert reading.partials == ["hel", "hello there"]


def test_a_reply_may_end_before_the_words_of_the_user_are_known() -> None:
    reading = Reading()
    assert reading.read(words("Hi."), DONE) == [TextDelta("Hi.")]
    assert reading.reader.complete
    assert not reading.reader.finished
    assert reading.read(COMPLETED) == [Heard("hello there", is_final=True)]
    assert reading.reader.finished


def test_words_that_cannot_be_known_are_not_waited_for() -> None:
    reading = Reading()
    assert reading.read({"type": f"{HEARD}.failed", "error": {}}, DONE) == []
    assert reading.reader.finished


def test_sound_waits_a_little_for_its_words() -> None:
    reading = Reading(spoken=False)
    assert reading.read(sound(0.2)) == []
    first, second = reading.read(words("Hi."))
    assert first == TextDelta("Hi.")
    assert isinstance(second, AudioChunk)
    assert second.samples == pytest.approx(tone(0.2), abs=1e-4)
    assert [type(event) for event in reading.read(sound(0.1))] == [AudioChunk]


@pytest.mark.parametrize("then", [sound(0.3), DONE])
def test_sound_whose_words_do_not_come_is_not_kept(then: Json) -> None:
    told = Reading(spoken=False).read(sound(0.2), then)
    assert told
    assert all(isinstance(event, AudioChunk) for event in told)


def test_a_tool_call_is_read_when_it_is_whole() -> None:
    item = {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": "{}", "id": "item_2"}
    delta = {"type": "response.function_call_arguments.delta", "delta": "{}"}
    told = Reading(spoken=False).read(delta, {"type": "response.output_item.done", "item": item})
    assert told == [ToolCall("call_1", "get_weather", "{}")]


def test_usage_is_counted_where_it_is_told() -> None:
    reading = Reading(spoken=False)
    usage = {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}
    reading.read({"type": "response.done", "response": {"status": "completed", "usage": usage}})
    assert (reading.reader.input_tokens, reading.reader.output_tokens) == (7, 5)


def test_what_is_not_known_or_not_whole_says_nothing() -> None:
    events: list[Any] = [
        {"type": "rate_limits.updated"},
        {"type": "response.output_audio.delta"},
        {"type": 7},
        {},
        {"type": "response.output_item.done", "item": {"type": "message"}},
    ]
    assert Reading().read(*events) == []


@pytest.mark.parametrize(
    ("response", "error", "message"),
    [
        ({"status": "incomplete", "status_details": {"reason": "content_filter"}}, BackendError, "content_filter"),
        ({"status": "cancelled", "status_details": None}, BackendError, "ended the reply as cancelled"),
        (
            {"status": "failed", "status_details": {"error": {"code": "rate_limit_exceeded", "message": "slow down"}}},
            AtCapacity,
            "slow down",
        ),
        ({"status": "failed", "status_details": {"error": {"type": "server_error"}}}, BackendError, "no reason"),
        (None, BackendError, "expected a response with its status"),
    ],
)
def test_a_reply_that_is_not_complete_is_an_error(response: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        Reading().read({"type": "response.done", "response": response})


@pytest.mark.parametrize(
    ("told", "error", "message"),
    [
        ({"code": "invalid_value", "message": "no such voice"}, BackendError, "no such voice"),
        ({"type": "rate_limit_error", "message": "slow down"}, AtCapacity, "slow down"),
        ({"code": "insufficient_quota", "message": "nothing left"}, BackendUnavailable, "nothing left"),
        ({"code": "invalid_api_key", "message": "bad key: sk-123"}, BackendError, "error: the key is not accepted"),
        ("out of order", BackendError, "no reason given"),
    ],
)
def test_errors_are_told_in_our_words(told: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        Reading().read({"type": "error", "error": told})


@pytest.mark.parametrize("delta", ["no base64!", base64.b64encode(np.zeros(3, np.uint8)).decode()])
def test_sound_that_is_none_is_an_error(delta: str) -> None:
    with pytest.raises(BackendError, match="16-bit sound in base64"):
        Reading().read({"type": "response.output_audio.delta", "delta": delta})


def test_a_tool_call_that_lacks_something_is_an_error() -> None:
    item = {"type": "function_call", "name": "get_weather"}
    with pytest.raises(BackendError, match="one with type, name"):
        Reading().read({"type": "response.output_item.done", "item": item})
