"""What a session tells its caller, free of any protocol. Positions are milliseconds of the caller's audio."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from edge_client.conversation import Item, MessageItem, ToolCallItem
from routing.telemetry.finished_span import FinishedSpan
from routing.turns import Placement, Samples

type CutReason = Literal["turn_detected", "client_cancelled"]
type ReplyStatus = Literal["completed", "cancelled", "failed"]


@dataclass(frozen=True, slots=True)
class UserStarted:
    """The user speaks: a turn has begun, and whatever was being said to them has stopped."""

    item_id: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class UserStopped:
    item_id: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class UserCommitted:
    """The user's turn is part of the conversation; its words may still be missing."""

    item: MessageItem
    previous_item_id: str | None


@dataclass(frozen=True, slots=True)
class UserHeard:
    """The user's words so far, or all of them."""

    item_id: str
    text: str
    is_final: bool
    duration_sec: float


@dataclass(frozen=True, slots=True)
class ReplyStarted:
    reply_id: str


@dataclass(frozen=True, slots=True)
class ReplyItemStarted:
    reply_id: str
    index: int
    item: MessageItem


@dataclass(frozen=True, slots=True)
class ReplyText:
    reply_id: str
    index: int
    item: MessageItem
    delta: str


@dataclass(frozen=True, slots=True, eq=False)
class ReplyAudio:
    """More of the reply's sound, mono 24 kHz. Callers with a paced mouth hear it there instead."""

    reply_id: str
    index: int
    item: MessageItem
    samples: Samples


@dataclass(frozen=True, slots=True)
class ReplyItemDone:
    reply_id: str
    index: int
    item: MessageItem


@dataclass(frozen=True, slots=True)
class ReplyToolCall:
    reply_id: str
    index: int
    item: ToolCallItem
    previous_item_id: str | None


@dataclass(frozen=True, slots=True)
class TurnReport:
    """How a turn went. ``timings_ms`` holds endpoint_wait, ttfa and the backend's own phases, those that happened.

    ``placement`` says who spoke first, ``switches`` who went on where that one could not.
    """

    index: int
    turn_id: str
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    placement: Placement | None = None
    end_reason: str | None = None
    switches: tuple[Placement, ...] = ()
    trace_id: str = ""


@dataclass(frozen=True, slots=True)
class ReplyDone:
    reply_id: str
    status: ReplyStatus
    items: tuple[Item, ...]
    report: TurnReport
    cut_reason: CutReason | None = None
    error: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class PlayoutStarted:
    """The first sample of the reply left for the caller."""

    reply_id: str


@dataclass(frozen=True, slots=True)
class PlayoutStopped:
    """Everything of the reply was played."""

    reply_id: str


@dataclass(frozen=True, slots=True)
class PlayoutCleared:
    """The rest of the reply will not be played."""

    reply_id: str


@dataclass(frozen=True, slots=True)
class ItemTruncated:
    """Only ``audio_end_ms`` of the item's audio were heard; the conversation keeps no more."""

    item_id: str
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class TurnTraced:
    """The turn of a caller's report is over and its trace written. ``spans`` are those of this program.

    ``origin_ns`` is the last sample of speech (nanoseconds since 1970), or the root's begin where nobody spoke.
    """

    turn_id: str
    trace_id: str
    origin_ns: int
    spans: tuple[FinishedSpan, ...]


type UserEvent = UserStarted | UserStopped | UserCommitted | UserHeard
type SpeakingEvent = (
    ReplyStarted | ReplyItemStarted | ReplyText | ReplyAudio | ReplyItemDone | ReplyToolCall | ReplyDone
)
type PlayoutEvent = PlayoutStarted | PlayoutStopped | PlayoutCleared | ItemTruncated
type SessionEvent = UserEvent | SpeakingEvent | PlayoutEvent | TurnTraced

type Emit = Callable[[SessionEvent], None]
