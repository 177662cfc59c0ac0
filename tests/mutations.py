"""Real offers and real client events, spoilt in every way that a seed leads to. Equal seeds spoil equally."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

type Json = dict[str, Any]

HUGE = ["-1", "0", "65536", "4294967296", "99999999999999999999", "1e308", "-0", "١", ""]
STRANGE = ["\x00", "é", "\U0001f600", "\u202e", "\r", "\t", " ", "%s", "{}", "a" * 900, ":", "=", "/", "\ud800"]


# -- offers ------------------------------------------------------------------------------------------------------------


def drop_line(lines: list[str], dice: random.Random) -> list[str]:
    where = dice.randrange(len(lines))
    return lines[:where] + lines[where + 1 :]


def double_line(lines: list[str], dice: random.Random) -> list[str]:
    where = dice.randrange(len(lines))
    return lines[:where] + [lines[where]] * dice.choice([2, 3, 50]) + lines[where + 1 :]


def swap_lines(lines: list[str], dice: random.Random) -> list[str]:
    swapped = list(lines)
    one, other = dice.randrange(len(lines)), dice.randrange(len(lines))
    swapped[one], swapped[other] = swapped[other], swapped[one]
    return swapped


def huge_number(lines: list[str], dice: random.Random) -> list[str]:
    """In the place of a word that is one."""
    spoilt = list(lines)
    where = dice.choice([index for index, line in enumerate(lines) if any(map(str.isdigit, line))] or [0])
    words = spoilt[where].split(" ")
    index = dice.choice([at for at, word in enumerate(words) if any(map(str.isdigit, word))] or [0])
    prefix, colon, _ = words[index].rpartition(":")
    words[index] = prefix + colon + dice.choice(HUGE)
    spoilt[where] = " ".join(words)
    return spoilt


def strange_character(lines: list[str], dice: random.Random) -> list[str]:
    spoilt = list(lines)
    where = dice.randrange(len(lines))
    at = dice.randrange(len(lines[where]) + 1)
    spoilt[where] = lines[where][:at] + dice.choice(STRANGE) + lines[where][at + dice.choice([0, 1]) :]
    return spoilt


def other_value(lines: list[str], dice: random.Random) -> list[str]:
    """An attribute with the value of another."""
    spoilt = list(lines)
    where = dice.randrange(len(lines))
    name = lines[where].partition(":")[0]
    spoilt[where] = f"{name}:{dice.choice(lines).partition(':')[2]}"
    return spoilt


def cut_off(lines: list[str], dice: random.Random) -> list[str]:
    text = "\n".join(lines)
    return text[: dice.randrange(1, len(text))].split("\n")


def repeat_section(lines: list[str], dice: random.Random) -> list[str]:
    starts = [index for index, line in enumerate(lines) if line.startswith("m=")] or [0]
    return lines + lines[dice.choice(starts) :] * dice.choice([1, 2, 20])


def shuffle(lines: list[str], dice: random.Random) -> list[str]:
    begin = dice.randrange(len(lines))
    middle = lines[begin : begin + dice.randrange(2, 12)]
    dice.shuffle(middle)
    return lines[:begin] + middle + lines[begin + len(middle) :]


def add_attributes(lines: list[str], dice: random.Random) -> list[str]:
    added = dice.choice(
        [
            "a=ssrc-group:FID 1 2",
            "a=ssrc:99999999999 cname:x",
            "a=simulcast:send 1;2",
            "a=rid:1 send",
            "a=fmtp:111 minptime=x;;=;stereo",
            "a=rtcp-fb:* nack",
            "a=extmap:256 urn:x",
            "a=rtpmap:0 opus/48000/2",
            "a=max-message-size:99999999999999",
            "a=sctpmap:5000 webrtc-datachannel 65536",
            "a=candidate:1 1 udp 1 127.0.0.1 9 typ host",
            "a=inactive",
            "a=ice-lite",
            "a=group:BUNDLE 0 1 2",
            "a=group:LS 0 1",
            "a=msid-semantic:",
            "b=AS:-1",
            "c=IN IP6 ::1",
        ]
    )
    where = dice.randrange(len(lines) + 1)
    return lines[:where] + [added] * dice.choice([1, 1, 30]) + lines[where:]


SPOIL_OFFER: Sequence[Callable[[list[str], random.Random], list[str]]] = (
    drop_line,
    double_line,
    swap_lines,
    huge_number,
    strange_character,
    other_value,
    cut_off,
    repeat_section,
    shuffle,
    add_attributes,
)


def spoilt_offer(offers: Sequence[str], seed: int) -> str:
    """One of the offers with one to four faults."""
    dice = random.Random(seed)
    lines = dice.choice(offers).splitlines()
    for _ in range(dice.randint(1, 4)):
        lines = dice.choice(SPOIL_OFFER)(lines, dice) or [""]
    return dice.choice(["\r\n", "\n"]).join(lines) + dice.choice(["", "\r\n"])


# -- client events -----------------------------------------------------------------------------------------------------

MESSAGE = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
RECORDING = {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "AAAA" * 100}]}
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

# One of each kind that clients send, with the fields that they may have.
EVENTS: Sequence[Json] = (
    {
        "type": "session.update",
        "event_id": "event_1",
        "session": {
            "type": "realtime",
            "instructions": "Be brief.",
            "output_modalities": ["audio"],
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "transcription": {"model": "gpt-4o-mini-transcribe"},
                    "turn_detection": {"type": "semantic_vad", "eagerness": "auto", "interrupt_response": True},
                    "noise_reduction": None,
                },
                "output": {"format": {"type": "audio/pcmu"}, "voice": "ash", "speed": 1.0},
            },
            "tools": [{"type": "function", "name": "light", "description": "x", "parameters": {"type": "object"}}],
            "tool_choice": "auto",
            "antiphon": {"privacy": "any"},
        },
    },
    {
        "type": "session.update",
        "session": {
            "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 500}}}
        },
    },
    {"type": "session.update", "session": {"audio": {"input": {"turn_detection": None}}}},
    {"type": "input_audio_buffer.append", "audio": "AAAA" * 160},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "conversation.item.create", "previous_item_id": None, "item": MESSAGE | {"id": "item_1"}},
    {"type": "conversation.item.create", "item": RECORDING},
    {"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "call_1", "output": "{}"}},
    {
        "type": "conversation.item.create",
        "item": {"type": "function_call", "call_id": "call_1", "name": "light", "arguments": '{"on": true}'},
    },
    {"type": "conversation.item.retrieve", "item_id": "item_1"},
    {"type": "conversation.item.truncate", "item_id": "item_1", "content_index": 0, "audio_end_ms": 1500},
    {"type": "conversation.item.delete", "item_id": "item_1"},
    {
        "type": "response.create",
        "response": {
            "instructions": "Say hello.",
            "output_modalities": ["text"],
            "tools": [],
            "tool_choice": {"type": "function", "name": "light"},
            "conversation": "auto",
            "antiphon": {"privacy": "device_only"},
        },
        "traceparent": TRACEPARENT,
        "tracestate": "one=a",
    },
    {"type": "response.create"},
    {"type": "response.cancel", "response_id": "resp_1"},
    {"type": "output_audio_buffer.clear"},
    {"type": "antiphon.clock.ping", "client_ms": 1_790_000_000_000.125},
    {
        "type": "antiphon.turn.report",
        "turn_id": "turn_1",
        "speech_end_ms": 1.5,
        "heard_ms": 2.5,
        "jitter_buffer_ms": 20.0,
        "packets_lost": 3,
        "clock": {"offset_ms": 0.5, "uncertainty_ms": 1.0},
    },
    {"type": "antiphon.session.restore", "ticket": "AAAA"},
)

VALUES: Sequence[Any] = (
    None,
    True,
    0,
    -1,
    2**31,
    2**63,
    2**64,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x" * 5000,
    "\ud800",
    "\x00",
    "\U0001f600",
    "item_1",
    "root",
    TRACEPARENT,
    [],
    [None],
    [[[[]]]],
    {},
    {"type": None},
    {"": {}},
    ["audio", "text", "audio"],
    "null",
    "AAA",
    "////",
)


def spoil_value(event: Any, dice: random.Random) -> Any:
    """Another value somewhere in it: of a field, of a list, or in its own place."""
    if isinstance(event, dict) and event and dice.random() < 0.9:
        name = dice.choice(list(event))
        return event | {name: spoil_value(event[name], dice)}
    if isinstance(event, list) and event and dice.random() < 0.8:
        where = dice.randrange(len(event))
        return [*event[:where], spoil_value(event[where], dice), *event[where + 1 :]]
    return dice.choice(VALUES)


def drop_field(event: Any, dice: random.Random) -> Any:
    if not isinstance(event, dict) or not event:
        return event
    name = dice.choice(list(event))
    if isinstance(event[name], dict) and dice.random() < 0.6:
        return event | {name: drop_field(event[name], dice)}
    return {key: value for key, value in event.items() if key != name}


def add_field(event: Any, dice: random.Random) -> Any:
    if not isinstance(event, dict):
        return event
    inner = [name for name, value in event.items() if isinstance(value, dict)]
    if inner and dice.random() < 0.5:
        name = dice.choice(inner)
        return event | {name: add_field(event[name], dice)}
    other = dice.choice(EVENTS)
    name = dice.choice(list(other))
    return event | {name: other[name]}


def other_type(event: Any, dice: random.Random) -> Any:
    kind = dice.choice([each["type"] for each in EVENTS] + ["session.created", "nonsense", "", None, 5, []])
    return event | {"type": kind} if isinstance(event, dict) else event


SPOIL_EVENT: Sequence[Callable[[Any, random.Random], Any]] = (
    spoil_value,
    spoil_value,
    drop_field,
    add_field,
    other_type,
)


def spoilt_text(text: str, dice: random.Random) -> str:
    """What is no JSON any more, or hardly."""
    at = dice.randrange(len(text) + 1)
    return dice.choice(
        [
            text[:at],
            text[:at] + dice.choice(STRANGE) + text[at:],
            text[:at] + text[at + 1 :],
            "[" * 20_000 + text,
            '{"type":' * 2_000,
            f"[{text},{text}]",
            text * 2,
            text.replace('"', "'"),
            text.replace("1", "9" * 5000),
            "",
        ]
    )


def spoilt_event(seed: int) -> str:
    """One message of a client with up to three faults; now and then one that is right."""
    dice = random.Random(seed)
    event: Any = dice.choice(EVENTS)
    for _ in range(dice.choice([0, 1, 1, 1, 2, 3])):
        event = dice.choice(SPOIL_EVENT)(event, dice)
    text = json.dumps(event)
    return spoilt_text(text, dice) if dice.random() < 0.1 else text
