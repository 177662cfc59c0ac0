"""How a turn travels to the cloud and its reply comes back: messages as bytes, and bytes as messages.

One WebSocket carries one turn. It is opened when the caller begins to speak, and closing it at any moment cancels
whatever is still being done for the turn. All messages are binary::

    byte 0     version of this protocol
    byte 1     what follows
    the rest   JSON in UTF-8, but for sound: that is raw

    edge ▶ cloud   Open Speech… (Ask RollBack)… Ask Commit        Ping at any time
    cloud ▶ edge   Welcome, Told…, Refused                        Pong

An `Ask` is speculative until its `Commit`: the user may go on speaking, and a `RollBack` forgets it. Each has a number
that counts up from 1, and everything told of it carries that number, so what belongs to a forgotten attempt is known
from its number. `Told` with the number 0 is a partial transcript.
"""

from __future__ import annotations

from dataclasses import dataclass

from routing.errors import InvalidRequest
from routing.load import Load
from routing.turns import AudioChunk, ReplyEvent, Turn

VERSION = 1
MAXIMUM_MESSAGE_BYTES = 1024 * 1024  # a turn with its whole history; the longest chunk is far below
MAXIMUM_TURN_SEC = 120.0  # of speech in one turn


@dataclass(frozen=True, slots=True)
class Open:
    """The first message: all a backend needs to know before it has heard anything."""

    turn: Turn


@dataclass(frozen=True, slots=True, eq=False)
class Speech:
    """The next stretch of what the user says, as 16-bit whole numbers on the wire."""

    chunk: AudioChunk


@dataclass(frozen=True, slots=True)
class Ask:
    """Answer what was fed so far; it may turn out to be too early."""

    attempt: int


@dataclass(frozen=True, slots=True)
class RollBack:
    """The user went on: the attempt never was."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Commit:
    """The turn is over, and this attempt is the one that counts."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Ping:
    """A heartbeat, which needs no turn."""

    number: int


@dataclass(frozen=True, slots=True)
class Welcome:
    """The turn has a place; ``replica`` says where, for traces."""

    replica: str


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """An event of the reply to an attempt."""

    attempt: int
    event: ReplyEvent


@dataclass(frozen=True, slots=True)
class Refused:
    """The turn (attempt 0) or an attempt cannot be answered here.

    Args:
        code: machine-readable: "at_capacity", "unavailable", "failed", or the code of an `InvalidRequest`
        retry_after_sec: when to come back, where that is known
    """

    attempt: int
    code: str
    message: str
    retry_after_sec: float | None = None


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a `Ping`, with how full the cloud is."""

    number: int
    load: Load


type Message = Open | Speech | Ask | RollBack | Commit | Ping | Welcome | Told | Refused | Pong


class WireError(InvalidRequest):
    """What came is no message of this protocol; the connection cannot go on."""


def encode(message: Message) -> bytes:
    """The message as bytes.

    Raises:
        WireError: it is larger than `MAXIMUM_MESSAGE_BYTES`.
    """
    raise NotImplementedError


def decode(data: bytes) -> Message:
    """The message that the bytes are.

    Raises:
        WireError: another version, an unknown kind, too large, or not what its kind should hold. The message says what
            was expected and what came.
    """
    raise NotImplementedError
