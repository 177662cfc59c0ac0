"""Messages between the edge and the cloud: round trips, hostile bytes, and what may come after what."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from routing.load import Load
from routing.turns import (
    AudioChunk,
    Heard,
    HistoryItem,
    Message,
    Placement,
    Reminder,
    ReplyEnd,
    ReplyEvent,
    TextDelta,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from routing.wire import (
    MAXIMUM_HISTORY_ITEMS,
    MAXIMUM_MESSAGE_BYTES,
    MAXIMUM_TURN_MESSAGES,
    MAXIMUM_TURN_SEC,
    VERSION,
    Ask,
    Commit,
    Conduct,
    Open,
    Ping,
    Pong,
    Refused,
    RollBack,
    Speech,
    Told,
    Welcome,
    WireError,
    decode,
    encode,
)
from routing.wire import Message as WireMessage

TURN = Turn(
    session_id="sess_1",
    turn_id="turn_1",
    index=3,
    history=(
        Message("user", "what’s the weather?"),
        ToolCall("call_1", "weather", '{"city":"Kyōto"}'),
        ToolResult("call_1", "21 °C"),
        Message("assistant", "Twenty-one degrees."),
    ),
    instructions="Be brief.",
    tools=(
        Tool("weather", "Tells the weather.", {"type": "object", "properties": {"city": {"enum": ["a", None, 1]}}}),
    ),
    tool_choice="weather",
    privacy="any",
    trace_context={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
)


def sound(count: int, sample_rate: int) -> AudioChunk:
    """On the grid of 16-bit samples, so that nothing is rounded on the way."""
    values = np.random.default_rng(count).integers(-32768, 32768, count)
    return AudioChunk((values / 32768).astype(np.float32), sample_rate)


MESSAGES: list[WireMessage] = [
    Open(TURN),
    Open(Turn(session_id="s", turn_id="t", index=0, script="Your timer has run out.", modality="text")),
    Speech(sound(1280, 16_000)),
    Speech(sound(0, 16_000)),
    Ask(1),
    RollBack(1),
    Commit(2**32 - 1),
    Ping(0),
    Welcome("replica#a1"),
    Told(0, Heard("what is", is_final=False)),
    Told(1, Heard("what is it", is_final=True, end_of_sentence=0.75)),
    Told(1, Placement("cloud", "only backend", {"cloud": 0.25})),
    Told(1, TextDelta("It’s ")),
    Told(1, sound(480, 24_000)),
    Told(1, ToolCall("call_2", "weather", "{}")),
    Told(1, Reminder(600.0, "tea")),
    Told(1, ReplyEnd({"prefill": 12.5}, input_tokens=10, output_tokens=20)),
    Refused(0, "at_capacity", "full", retry_after_sec=0.5),
    Refused(2, "failed", "the engine is gone"),
    Pong(7, Load(slots=16, in_use=3, waiting=1, queue_wait_sec=0.125, first_audio_p95_sec=None)),
]


def same(one: WireMessage, other: WireMessage) -> bool:
    match one, other:
        case Speech(a), Speech(b):
            return same_sound(a, b)
        case Told(m, AudioChunk() as a), Told(n, AudioChunk() as b):
            return m == n and same_sound(a, b)
        case Told(m, event), Told(n, other_event):
            return m == n and event == other_event
    return one == other


def same_sound(one: AudioChunk, other: AudioChunk) -> bool:
    return one.sample_rate == other.sample_rate and np.array_equal(one.samples, other.samples)


def said(message: WireMessage) -> str:
    return type(message.event).__name__ if isinstance(message, Told) else type(message).__name__


# -- there and back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", MESSAGES, ids=said)
def test_a_message_arrives_as_it_was_sent(message: WireMessage) -> None:
    arrived = decode(encode(message))
    assert same(arrived, message)
    assert same(decode(encode(arrived)), message)


texts = st.text(st.characters(exclude_categories=["Cs"]))
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
numbers = st.integers(1, 2**32 - 1)
amounts = st.floats(0, 1e6)
items: st.SearchStrategy[HistoryItem] = st.one_of(
    st.builds(Message, st.sampled_from(["system", "user", "assistant"]), texts),
    st.builds(ToolCall, texts, texts, texts),
    st.builds(ToolResult, texts, texts),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)
turns = st.builds(
    Turn,
    session_id=ids,
    turn_id=ids,
    index=st.integers(0, 2**31),
    history=st.lists(items, max_size=5).map(tuple),
    instructions=texts,
    tools=st.lists(st.builds(Tool, texts, texts, st.dictionaries(texts, json_values, max_size=3)), max_size=2).map(
        tuple
    ),
    tool_choice=texts,
    modality=st.sampled_from(["audio", "text"]),
    script=st.none() | texts,
    privacy=st.sampled_from(["any", "device_only"]),
    trace_context=st.dictionaries(texts, texts, max_size=2),
)
events: st.SearchStrategy[ReplyEvent] = st.one_of(
    st.builds(Heard, texts, st.booleans(), st.none() | st.floats(0, 1)),
    st.builds(Placement, texts, texts, st.dictionaries(texts, amounts, max_size=2)),
    st.builds(TextDelta, texts),
    st.builds(sound, st.integers(0, 1000), st.just(24_000)),
    st.builds(ToolCall, texts, texts, texts),
    st.builds(Reminder, amounts, texts),
    st.builds(ReplyEnd, st.dictionaries(texts, amounts, max_size=2), st.integers(0, 9), st.integers(0, 9)),
)
messages: st.SearchStrategy[WireMessage] = st.one_of(
    st.builds(Open, turns),
    st.builds(Speech, st.builds(sound, st.integers(0, 1000), st.just(16_000))),
    st.builds(Told, numbers, events),
    st.builds(Refused, numbers, texts, texts, st.none() | amounts),
    st.sampled_from(MESSAGES),
)


@given(messages)
@settings(max_examples=50)
def test_any_message_arrives_as_it_was_sent(message: WireMessage) -> None:
    assert same(decode(encode(message)), message)


def test_sound_is_rounded_to_16_bits_and_clipped() -> None:
    samples = np.array([0.0, 0.3, -0.3, 1.0, -1.0, 1.7, -np.inf], np.float32)
    arrived = decode(encode(Told(1, AudioChunk(samples, 24_000))))
    assert isinstance(arrived, Told)
    assert isinstance(arrived.event, AudioChunk)
    np.testing.assert_allclose(arrived.event.samples, np.clip(samples, -1, 32767 / 32768), atol=0.5 / 32768)
    assert arrived.event.samples.dtype == np.float32


def test_an_attempt_of_sound_is_a_number_in_its_header() -> None:
    assert encode(Told(3, AudioChunk(np.zeros(2, np.float32), 24_000))).hex(" ") == (
        f"{VERSION:02x} 20 03 00 00 00 c0 5d 00 00 00 00 00 00"
    )


# -- what cannot be sent ---------------------------------------------------------------------------------------------


def huge(depth: int) -> dict[str, object]:
    return {"deeper": huge(depth - 1)} if depth else {}


def turn(**parts: object) -> Turn:
    return Turn(**({"session_id": "s", "turn_id": "t", "index": 0} | parts))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (Open(turn(instructions="a" * MAXIMUM_MESSAGE_BYTES)), "expected a message of at most 1048576 bytes, got 1048"),
        (Speech(sound(600_000, 16_000)), "expected a message of at most 1048576 bytes, got 1200006"),
        (Open(turn(history=(ToolResult("c", "x"),) * 1001)), "expected at most 1000 history items, got 1001"),
        (Open(turn(turn_id="t" * 201)), "expected turn_id of 1 to 200 characters, got 201"),
        (Open(turn(session_id="")), "expected session_id of 1 to 200 characters, got 0"),
        (Open(turn(tools=(Tool("n", "d", huge(300)),))), "expected a Open that can be written|recursion limit"),
        (Open(turn(instructions="\ud800")), "surrogates not allowed"),
        (Speech(AudioChunk(np.array([np.nan], np.float32), 16_000)), "expected samples that are numbers .* got NaN"),
        (Told(1, Heard("hello", is_final=True, end_of_sentence=float("nan"))), "end_of_sentence: .* finite number"),
        (Ask(0), "attempt: Input should be greater than or equal to 1"),
        (Told(0, sound(2, 24_000)), "expected an attempt of at least 1 for a AudioChunk, got 0"),
        (Told(0, Heard("yes", is_final=True)), "expected an attempt of at least 1 for a Heard, got 0"),
        (Told(-1, sound(2, 24_000)), "expected a Told that can be written down"),
        (Pong(1, Load(slots=-1, in_use=0)), "expected amounts of at least 0, got -1"),
    ],
)
def test_what_cannot_be_sent_is_refused_where_it_is_made(message: WireMessage, fault: str) -> None:
    with pytest.raises(WireError, match=fault):
        encode(message)


# -- what cannot be read ---------------------------------------------------------------------------------------------


def raw(kind: int, rest: object = b"") -> bytes:
    return bytes([VERSION, kind]) + (rest if isinstance(rest, bytes) else json.dumps(rest).encode())


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("hello", "expected a binary message, got a text of 5 characters"),
        (b"", "expected a message of at least 2 bytes, got 0"),
        (b"\x01", "expected a message of at least 2 bytes, got 1"),
        (b"\x09\x03{}", "expected version 1 of the protocol, got 9"),
        (raw(99), "expected a kind of message that this version knows, got 99"),
        (raw(3, b"\0" * MAXIMUM_MESSAGE_BYTES), "expected a message of at most 1048576 bytes, got 1048578"),
        (raw(3), "Ask: Invalid JSON"),
        (raw(3, b"garbage"), "Ask: Invalid JSON"),
        (raw(3, b'{"attempt":' * 10_000), "Ask: Invalid JSON: recursion limit"),
        (raw(1, b'{"turn":' * 10_000), "expected JSON, got something else: recursion limit"),
        (raw(3, {"attempt": 0}), "Ask.attempt: Input should be greater than or equal to 1"),
        (raw(3, {"attempt": "1"}), "Ask.attempt: Input should be a valid integer .got str"),
        (raw(3, {"attempt": 2**32}), "Ask.attempt: Input should be less than or equal to"),
        (raw(3, b'{"attempt":1' + b"0" * 5000 + b"}"), "Ask"),
        (raw(3, {"attempt": 1, "colour": "red"}), "Ask.colour: Unexpected keyword argument"),
        (raw(3, b"[1]"), "Ask: Input should be"),
        (raw(2), "expected a header of 6 bytes before the sound, got 2"),
        (encode(Speech(sound(2, 16_000)))[:-1], "expected whole 16-bit samples, got an odd number of bytes .3"),
        (encode(Speech(sound(2, 48_000))), "expected sound at 16000 Hz, got 48000"),
        (encode(Told(1, sound(2, 16_000))), "expected sound at 24000 Hz, got 16000"),
        (b"\x01\x20" + bytes(4) + b"\xc0\x5d\x00\x00", "expected an attempt of at least 1 for a AudioChunk, got 0"),
        (raw(35, {"attempt": 0, "event": {"text": "x"}}), "expected an attempt of at least 1 for a TextDelta, got 0"),
        (raw(33, b'{"attempt":1,"event":{"text":"x","is_final":true,"end_of_sentence":NaN}}'), "finite number"),
        (raw(18, b'{"number":1,"load":{"slots":1,"in_use":0,"queue_wait_sec":Infinity}}'), "finite number"),
        (
            raw(
                1,
                b'{"turn":{"session_id":"s","turn_id":"t","index":0,"tools":'
                b'[{"name":"n","description":"d","parameters":{"x":NaN}}]}}',
            ),
            "expected JSON, got something else",
        ),
        (raw(18, {"number": 1, "load": {"slots": 1, "in_use": -2}}), "expected amounts of at least 0, got -2"),
        (raw(18, {"number": 1, "load": {"slots": 10**400, "in_use": 0}}), "expected amounts of at most 4294967295"),
        (
            raw(18, {"number": 1, "load": {"slots": 1, "in_use": 0, "queue_wait_sec": 1e308}}),
            "expected amounts of at most 4294967295, got more",
        ),
        (raw(1, {"turn": {"session_id": "s", "turn_id": "t"}}), "Open.turn.index: Field required"),
        (raw(1, {"turn": {"session_id": "s", "turn_id": "t", "index": -1}}), "expected an index of at least 0, got -1"),
    ],
)
def test_what_is_no_message_is_refused_with_what_was_expected_and_what_came(data: bytes | str, fault: str) -> None:
    with pytest.raises(WireError, match=fault):
        decode(data)


def test_a_refusal_does_not_repeat_what_was_said() -> None:
    with pytest.raises(WireError) as caught:
        decode(raw(33, {"attempt": 1, "event": {"text": ["my secret"], "is_final": True}}))
    assert str(caught.value) == "Heard.event.text: Input should be a valid string (got list)"


def test_a_history_of_the_longest_length_is_taken() -> None:
    long = Open(turn(history=(Message("user", "x"),) * MAXIMUM_HISTORY_ITEMS))
    assert decode(encode(long)) == long


@given(st.binary(max_size=200))
@example(b"\x01\x01{}")
def test_random_bytes_raise_nothing_but_a_wire_error(data: bytes) -> None:
    only_wire_errors(lambda: decode(data))


@given(st.integers(0, 255), st.binary(max_size=200))
def test_random_bytes_after_a_true_version_raise_nothing_but_a_wire_error(kind: int, rest: bytes) -> None:
    only_wire_errors(lambda: decode(raw(kind, rest)))


@given(st.sampled_from(MESSAGES), st.integers(0, 10_000), st.integers(0, 255), st.integers(0, 3))
def test_a_damaged_message_raises_nothing_but_a_wire_error(
    message: WireMessage, place: int, value: int, removed: int
) -> None:
    data = encode(message)
    place %= len(data)
    only_wire_errors(lambda: decode(data[:place] + bytes([value]) + data[place + removed :]))


@given(st.sampled_from([1, 3, 6, 16, 17, 18, 33, 34, 35, 36, 37, 38]), json_values)
@settings(max_examples=50)
def test_json_of_any_other_shape_raises_nothing_but_a_wire_error(kind: int, value: object) -> None:
    only_wire_errors(lambda: decode(raw(kind, json.dumps(value).encode())))


def only_wire_errors(act: Callable[[], WireMessage]) -> None:
    try:
        message = act()
    except WireError:
        return
    assert same(decode(encode(message)), message)


# -- what may come after what ----------------------------------------------------------------------------------------

SPEECH = Speech(sound(1600, 16_000))
SILENT = Open(turn())


def feed(*messages: WireMessage) -> None:
    conduct = Conduct()
    for message in messages:
        conduct.feed(message)


@pytest.mark.parametrize(
    "story",
    [
        [SILENT, SPEECH, Ask(1), SPEECH, RollBack(1), SPEECH, Ask(2), Commit(2), Ping(1)],
        [Ping(1), Ping(2)],
        [Open(turn(script="Time is up.")), Ask(1), Commit(1)],
        [Open(turn(history=(Message("user", "hello?"),))), Ask(1), Commit(1)],
        [Open(turn(history=(ToolResult("c", "12"),))), Ask(1), Commit(1)],
        [SILENT, Ask(1), RollBack(1), Ask(2), RollBack(2), SPEECH, Ask(3), Commit(3)],
    ],
)
def test_a_turn_that_keeps_its_order_is_not_objected_to(story: list[WireMessage]) -> None:
    feed(*story)


@pytest.mark.parametrize(
    ("story", "fault"),
    [
        ([SPEECH], "expected Open as the first message, got Speech"),
        ([SILENT, SILENT], "expected Speech, Ask, RollBack or Commit, got Open"),
        ([SILENT, Welcome("r")], "expected Speech, Ask, RollBack or Commit, got Welcome"),
        ([SILENT, SPEECH, Ask(2)], "expected Ask with attempt 1, got 2"),
        ([SILENT, SPEECH, Ask(1), RollBack(1), Ask(1)], "expected Ask with attempt 2, got 1"),
        ([SILENT, SPEECH, Ask(1), Ask(2)], "expected RollBack or Commit of attempt 1, got Ask"),
        ([SILENT, SPEECH, Commit(1)], "expected Commit of an attempt, and none is open, got 1"),
        ([SILENT, SPEECH, Ask(1), Commit(2)], "expected Commit of attempt 1, got 2"),
        ([SILENT, SPEECH, Ask(1), RollBack(2)], "expected RollBack of attempt 1, got 2"),
        ([SILENT, SPEECH, Ask(1), RollBack(1), RollBack(1)], "expected RollBack of an attempt, and none is open"),
        ([SILENT, SPEECH, Ask(1), Commit(1), SPEECH], "expected nothing but Ping after Commit, got Speech"),
        ([SILENT, SPEECH, Ask(1), Commit(1), Commit(1)], "expected nothing but Ping after Commit, got Commit"),
        ([SILENT, Ask(1), Commit(1)], "expected speech, a question at the end of the history or a script"),
        ([SILENT, Ask(1), SPEECH, Commit(1)], "expected speech, a question at the end of the history or a script"),
        ([Open(TURN), Ask(1), Commit(1)], "expected speech, a question at the end of the history or a script"),
    ],
)
def test_a_message_out_of_order_is_refused(story: list[WireMessage], fault: str) -> None:
    with pytest.raises(WireError, match=fault):
        feed(*story)


def test_a_turn_has_room_for_so_much_speech_and_no_more() -> None:
    ten_seconds = Speech(AudioChunk(np.zeros(160_000, np.float32), 16_000))
    most = [ten_seconds] * int(MAXIMUM_TURN_SEC / 10)
    feed(SILENT, *most)
    with pytest.raises(WireError, match="expected at most 120 seconds of speech in a turn, got more") as caught:
        feed(SILENT, *most, SPEECH)
    assert caught.value.code == "turn_too_long"


def test_a_turn_has_room_for_so_many_messages_and_no_more() -> None:
    nothing = [Speech(sound(0, 16_000))] * (MAXIMUM_TURN_MESSAGES - 1)
    feed(SILENT, *nothing, Ping(1))
    with pytest.raises(WireError, match="expected at most 12000 messages in a turn, got more"):
        feed(SILENT, *nothing, Ask(1))
