"""How a turn travels to the cloud and its reply comes back: messages as bytes, and bytes as messages.

One WebSocket carries one turn. It is opened when the caller begins to speak, and closing it at any moment cancels
whatever is still being done for the turn. All messages are binary::

    byte 0     version of this protocol
    byte 1     what follows
    the rest   JSON in UTF-8, but for sound: that is raw, 16-bit little-endian whole numbers after a short header
               (speech: its sample rate; a reply's sound: the number of its attempt and its sample rate, 32 bits each)

    edge ▶ cloud   Open Speech… (Ask RollBack)… Ask Commit        Ping at any time
    cloud ▶ edge   Welcome, Told…, Refused                        Pong

An `Ask` is speculative until its `Commit`: the user may go on speaking, and a `RollBack` forgets it. Each has a number
that counts up from 1, and everything told of it carries that number, so what belongs to a forgotten attempt is known
from its number. `Told` with the number 0 is a partial transcript.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from pydantic_core import ErrorDetails, PydanticSerializationError, from_json

from routing.errors import InvalidRequest
from routing.load import Load
from routing.turns import (
    REPLY_SAMPLE_RATE,
    SPEECH_SAMPLE_RATE,
    AudioChunk,
    Heard,
    Placement,
    Reminder,
    ReplyEnd,
    ReplyEvent,
    Samples,
    TextDelta,
    ToolCall,
    ToolResult,
    Turn,
)
from routing.turns import Message as SaidMessage

VERSION = 1
MAXIMUM_MESSAGE_BYTES = 1024 * 1024  # a turn with its whole history; the longest chunk is far below
MAXIMUM_TURN_SEC = 120.0  # of speech in one turn
MAXIMUM_TURN_MESSAGES = 12_000  # of the shortest chunks, 20 ms, half of them fill a turn
MAXIMUM_ID_CHARACTERS = 200  # of a session, a turn, a call
MAXIMUM_HISTORY_ITEMS = 1000
MAXIMUM_TOOLS = 200
MAXIMUM_NUMBER = 2**32 - 1  # of an attempt or a heartbeat, and of whatever a load counts

PCM16_SCALE = np.float32(32768.0)
_LOUDEST, _LOWEST = np.float32(32767 / 32768), np.float32(-1.0)


def _bounded_turn(turn: Turn) -> Turn:
    """Refuse what is larger than any honest turn; how long all its texts are together, the message's size bounds.

    Raises:
        ValueError: says which part is too large.
    """
    for name, identifier in (("session_id", turn.session_id), ("turn_id", turn.turn_id)):
        _expect(
            0 < len(identifier) <= MAXIMUM_ID_CHARACTERS,
            f"{name} of 1 to {MAXIMUM_ID_CHARACTERS} characters",
            len(identifier),
        )
    _expect(turn.index >= 0, "an index of at least 0", turn.index)
    _expect(
        len(turn.history) <= MAXIMUM_HISTORY_ITEMS, f"at most {MAXIMUM_HISTORY_ITEMS} history items", len(turn.history)
    )
    _expect(len(turn.tools) <= MAXIMUM_TOOLS, f"at most {MAXIMUM_TOOLS} tools", len(turn.tools))
    return turn


def _possible_load(load: Load) -> Load:
    amounts = (load.slots, load.in_use, load.waiting, load.queue_wait_sec, load.first_audio_p95_sec or 0.0)
    _expect(min(amounts) >= 0, "amounts of at least 0", min(amounts))
    _expect(max(amounts) <= MAXIMUM_NUMBER, f"amounts of at most {MAXIMUM_NUMBER}", "more")
    return load


def _expect(holds: bool, expected: str, got: object) -> None:
    if not holds:
        raise ValueError(f"expected {expected}, got {got}")


type Number = Annotated[int, Field(ge=0, le=MAXIMUM_NUMBER)]
type Attempt = Annotated[int, Field(ge=1, le=MAXIMUM_NUMBER)]
type Seconds = Annotated[float, Field(ge=0)]

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, ser_json_inf_nan="constants")


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Open:
    """The first message: all a backend needs to know before it has heard anything."""

    turn: Annotated[Turn, AfterValidator(_bounded_turn)]


@dataclass(frozen=True, slots=True, eq=False)
class Speech:
    """The next stretch of what the user says, as 16-bit whole numbers on the wire."""

    chunk: AudioChunk


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Ask:
    """Answer what was fed so far; it may turn out to be too early."""

    attempt: Attempt


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class RollBack:
    """The user went on: the attempt never was."""

    attempt: Attempt


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Commit:
    """The turn is over, and this attempt is the one that counts."""

    attempt: Attempt


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Ping:
    """A heartbeat, which needs no turn."""

    number: Number


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Welcome:
    """The turn has a place; ``replica`` says where, for traces."""

    replica: str


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """An event of the reply to an attempt."""

    attempt: int
    event: ReplyEvent


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Refused:
    """The turn (attempt 0) or an attempt cannot be answered here.

    Args:
        code: machine-readable: "at_capacity", "unavailable", "failed", or the code of an `InvalidRequest`
        retry_after_sec: when to come back, where that is known
    """

    attempt: Number
    code: str
    message: str
    retry_after_sec: Seconds | None = None


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a `Ping`, with how full the cloud is."""

    number: Number
    load: Annotated[Load, AfterValidator(_possible_load)]


type Message = Open | Speech | Ask | RollBack | Commit | Ping | Welcome | Told | Refused | Pong


class WireError(InvalidRequest):
    """What came is no message of this protocol; the connection cannot go on."""


# -- bytes -----------------------------------------------------------------------------------------------------------


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class _ToldOf[Event]:
    """What `Told` is in JSON."""

    attempt: Number
    event: Event


OPEN, SPEECH, TOLD_SOUND = 1, 2, 32  # kinds that are read in a way of their own

_MESSAGES: dict[int, Any] = {OPEN: Open, 3: Ask, 4: RollBack, 5: Commit, 6: Ping, 16: Welcome, 17: Refused, 18: Pong}
_EVENTS: dict[int, Any] = {33: Heard, 34: Placement, 35: TextDelta, 36: ToolCall, 37: Reminder, 38: ReplyEnd}
_ADAPTERS: dict[int, TypeAdapter[Any]] = {
    **{kind: TypeAdapter(message) for kind, message in _MESSAGES.items()},
    33: TypeAdapter(_ToldOf[Heard]),
    34: TypeAdapter(_ToldOf[Placement]),
    35: TypeAdapter(_ToldOf[TextDelta]),
    36: TypeAdapter(_ToldOf[ToolCall]),
    37: TypeAdapter(_ToldOf[Reminder]),
    38: TypeAdapter(_ToldOf[ReplyEnd]),
}
_KINDS: dict[type, int] = {type_: kind for kind, type_ in (_MESSAGES | _EVENTS).items()}

_HEAD = struct.Struct("<BB")
_SPEECH_HEAD = struct.Struct("<BBI")
_SOUND_HEAD = struct.Struct("<BBII")


def encode(message: Message) -> bytes:
    """The message as bytes, which `decode` takes; but the sample rate of sound is left to it.

    Raises:
        WireError: it is larger than `MAXIMUM_MESSAGE_BYTES`, or holds what no message of its kind can.
    """
    try:
        return _within_bounds(_encoded(message))
    except (PydanticSerializationError, struct.error) as error:
        raise WireError(f"expected a {type(message).__name__} that can be written down, got one with {error}") from None


def _encoded(message: Message) -> bytes:
    match message:
        case Told(attempt, AudioChunk(samples, sample_rate) as chunk):
            _told(attempt, chunk)
            return _SOUND_HEAD.pack(VERSION, TOLD_SOUND, attempt, sample_rate) + _pcm16(samples)
        case Told(attempt, event):
            _told(attempt, event)
            return _encoded_json(_KINDS[type(event)], _ToldOf(attempt, event))
        case Speech(AudioChunk(samples, sample_rate)):
            return _SPEECH_HEAD.pack(VERSION, SPEECH, sample_rate) + _pcm16(samples)
        case _:
            return _encoded_json(_KINDS[type(message)], message)


def _encoded_json(kind: int, value: object) -> bytes:
    text = _ADAPTERS[kind].dump_json(value)
    _decoded_json(kind, text)
    return _HEAD.pack(VERSION, kind) + text


def _pcm16(samples: Samples) -> bytes:
    """As 16-bit little-endian whole numbers; what is too loud is clipped."""
    values = np.minimum(samples, _LOUDEST)
    np.maximum(values, _LOWEST, out=values)
    if math.isnan(values.sum()):
        raise WireError("expected samples that are numbers in [-1, 1], got NaN")
    values *= PCM16_SCALE
    return np.rint(values, out=values).astype("<i2").tobytes()


def decode(data: bytes | str) -> Message:
    """The message that the bytes are.

    Raises:
        WireError: another version, an unknown kind, too large, or not what its kind should hold. The message says what
            was expected and what came, but for what was said.
    """
    if isinstance(data, str):
        raise WireError(f"expected a binary message, got a text of {len(data)} characters")
    if len(data) < _HEAD.size:
        raise WireError(f"expected a message of at least {_HEAD.size} bytes, got {len(data)}")
    version, kind = _HEAD.unpack_from(_within_bounds(data))
    if version != VERSION:
        raise WireError(f"expected version {VERSION} of the protocol, got {version}", code="unsupported_version")
    return _decoded(kind, data)


def _within_bounds(data: bytes) -> bytes:
    if len(data) > MAXIMUM_MESSAGE_BYTES:
        message = f"expected a message of at most {MAXIMUM_MESSAGE_BYTES} bytes, got {len(data)}"
        raise WireError(message, code="message_too_large")
    return data


def _decoded(kind: int, data: bytes) -> Message:
    if kind == TOLD_SOUND:
        return _decoded_sound(data)
    if kind == SPEECH:
        (sample_rate,) = _header(_SPEECH_HEAD, data)
        return Speech(_chunk(data, _SPEECH_HEAD.size, sample_rate, SPEECH_SAMPLE_RATE))
    if kind not in _ADAPTERS:
        raise WireError(f"expected a kind of message that this version knows, got {kind}")
    message = _decoded_json(kind, data[_HEAD.size :])
    return _told(message.attempt, message.event) if isinstance(message, _ToldOf) else message


def _decoded_json(kind: int, text: bytes) -> Any:
    try:
        if kind == OPEN:  # where JSON may be of any shape, its numbers are looked at by nobody else
            from_json(text, allow_inf_nan=False)
        return _ADAPTERS[kind].validate_json(text)
    except ValidationError as error:
        raise _explained(kind, error.errors(include_url=False)[0]) from None
    except ValueError as error:
        raise WireError(f"expected JSON, got something else: {error}") from None


def _explained(kind: int, fault: ErrorDetails) -> WireError:
    """Says what came by its type only: it may be what somebody said."""
    name = (_MESSAGES | _EVENTS)[kind].__name__
    path = ".".join(map(str, fault["loc"]))
    place = f"{name}.{path}" if path else name
    message = f"{place}: {fault['msg'].removeprefix('Value error, ')} (got {type(fault['input']).__name__})"
    return WireError(message, param=path or None)


def _decoded_sound(data: bytes) -> Told:
    attempt, sample_rate = _header(_SOUND_HEAD, data)
    return _told(attempt, _chunk(data, _SOUND_HEAD.size, sample_rate, REPLY_SAMPLE_RATE))


def _header(head: struct.Struct, data: bytes) -> tuple[int, ...]:
    if len(data) < head.size:
        raise WireError(f"expected a header of {head.size} bytes before the sound, got {len(data)} bytes in all")
    return head.unpack_from(data)[2:]


def _chunk(data: bytes, start: int, sample_rate: int, expected_rate: int) -> AudioChunk:
    if sample_rate != expected_rate:
        raise WireError(f"expected sound at {expected_rate} Hz, got {sample_rate}", param="sample_rate")
    if (len(data) - start) % 2:
        raise WireError(f"expected whole 16-bit samples, got an odd number of bytes ({len(data) - start})")
    values = np.frombuffer(data, "<i2", offset=start)
    return AudioChunk(values.astype(np.float32) / PCM16_SCALE, sample_rate)


def _told(attempt: int, event: ReplyEvent) -> Told:
    """Only words that are still being understood belong to no attempt."""
    if attempt == 0 and not (isinstance(event, Heard) and not event.is_final):
        raise WireError(f"expected an attempt of at least 1 for a {type(event).__name__}, got 0", param="attempt")
    return Told(attempt, event)


# -- manners ---------------------------------------------------------------------------------------------------------


def has_question(turn: Turn) -> bool:
    """Whether a turn can be answered before anything was heard: by its script, or by the end of its history."""
    last = turn.history[-1] if turn.history else None
    typed = isinstance(last, SaidMessage) and last.role != "assistant"
    return turn.script is not None or typed or isinstance(last, ToolResult)


class Conduct:
    """Watches one turn's messages from the edge, and refuses those that come out of order.

    Knows nothing of bytes: feed it every message that was decoded, and close the connection when it objects.
    """

    def __init__(self) -> None:
        self._turn: Turn | None = None
        self._messages = 0
        self._speech_sec = 0.0
        self._last_attempt = 0
        self._open_attempt: int | None = None
        self._has_question = False  # when the open attempt was asked for
        self._committed = False

    def feed(self, message: Message) -> None:
        """Take the next message.

        Raises:
            WireError: it may not come now.
        """
        if isinstance(message, Ping):
            return
        self._count()
        if self._turn is None:
            self._open(message)
        elif self._committed:
            raise self._out_of_order("nothing but Ping after Commit", message)
        else:
            self._take(message, self._turn)

    def _count(self) -> None:
        """Whoever keeps a turn's messages, to send them elsewhere, shall not have to keep any number of them."""
        self._messages += 1
        if self._messages > MAXIMUM_TURN_MESSAGES:
            message = f"expected at most {MAXIMUM_TURN_MESSAGES} messages in a turn, got more"
            raise WireError(message, code="turn_too_long")

    def _open(self, message: Message) -> None:
        if not isinstance(message, Open):
            raise self._out_of_order("Open as the first message", message)
        self._turn = message.turn

    def _take(self, message: Message, turn: Turn) -> None:
        match message:
            case Speech(chunk):
                self._hear(chunk)
            case Ask(attempt):
                self._ask(attempt, turn)
            case RollBack(attempt):
                self._expect_open(attempt, message)
                self._open_attempt = None
            case Commit(attempt):
                self._expect_open(attempt, message)
                self._commit()
            case _:
                raise self._out_of_order("Speech, Ask, RollBack or Commit", message)

    def _hear(self, chunk: AudioChunk) -> None:
        self._speech_sec += chunk.duration_sec
        if self._speech_sec > MAXIMUM_TURN_SEC:
            message = f"expected at most {MAXIMUM_TURN_SEC:g} seconds of speech in a turn, got more"
            raise WireError(message, code="turn_too_long")

    def _ask(self, attempt: int, turn: Turn) -> None:
        if self._open_attempt is not None:
            raise WireError(
                f"expected RollBack or Commit of attempt {self._open_attempt}, got Ask", code="out_of_order"
            )
        if attempt != self._last_attempt + 1:
            message = f"expected Ask with attempt {self._last_attempt + 1}, got {attempt}"
            raise WireError(message, code="out_of_order", param="attempt")
        self._last_attempt = self._open_attempt = attempt
        self._has_question = self._speech_sec > 0 or has_question(turn)

    def _expect_open(self, attempt: int, message: Message) -> None:
        if attempt != self._open_attempt:
            which = f"attempt {self._open_attempt}" if self._open_attempt else "an attempt, and none is open"
            text = f"expected {type(message).__name__} of {which}, got {attempt}"
            raise WireError(text, code="out_of_order", param="attempt")

    def _commit(self) -> None:
        if not self._has_question:
            message = "expected speech, a question at the end of the history or a script before Ask, got nothing"
            raise WireError(message, code="nothing_to_answer")
        self._committed = True

    @staticmethod
    def _out_of_order(expected: str, message: Message) -> WireError:
        return WireError(f"expected {expected}, got {type(message).__name__}", code="out_of_order")
