"""What was said so far: the items of a session, and the history a backend is given.

The edge is the authority. A reply that was cut keeps only the words that were heard. What belongs to a turn that may
not leave the device is part of the history of such turns only.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from routing.errors import InvalidRequest
from routing.turns import REPLY_SAMPLE_RATE, HistoryItem, Message, Privacy, ToolCall, ToolResult

SAMPLES_PER_MS = REPLY_SAMPLE_RATE // 1000
MOST_ITEMS = 1000  # an hour of talk
MOST_CHARACTERS = 4 * 1024 * 1024

type ItemStatus = Literal["in_progress", "completed", "incomplete"]


def new_id(prefix: str) -> str:
    """A fresh id such as ``item_3f9c…``, unguessable and unique over all sessions."""
    return f"{prefix}_{secrets.token_hex(10)}"


@dataclass(frozen=True, slots=True)
class SpokenText:
    """A piece of a message, and how many samples of its audio (24 kHz) had been made when it came."""

    text: str
    start: int = 0


@dataclass(slots=True, kw_only=True)
class MessageItem:
    """Something said or typed by one side."""

    id: str
    role: Literal["system", "user", "assistant"]
    medium: Literal["audio", "text"]
    status: ItemStatus = "completed"
    pieces: list[SpokenText] = field(default_factory=list)
    samples: int = 0  # of reply audio made so far
    heard: int | None = None  # of those, how many the caller heard before a cut
    privacy: Privacy = "any"

    def append(self, text: str) -> None:
        self.pieces.append(SpokenText(text, self.samples))

    @property
    def text(self) -> str | None:
        """The words, as far as they were heard; None while speech has not been transcribed."""
        if not self.pieces:
            return None
        if self.heard is not None:
            return self.text_heard(self.heard)
        return "".join(piece.text for piece in self.pieces)

    def text_heard(self, samples: int) -> str:
        """The words that fit into the first ``samples`` of the audio, to the last whole word."""
        ends = [piece.start for piece in self.pieces[1:]] + [self.samples]
        heard = (_cut(piece, end, samples) for piece, end in zip(self.pieces, ends, strict=True))
        return "".join(heard).rstrip()


def _cut(piece: SpokenText, end: int, samples: int) -> str:
    if samples <= piece.start:
        return ""
    if samples >= end:
        return piece.text
    words = piece.text.split(" ")
    return " ".join(words[: len(words) * (samples - piece.start) // (end - piece.start)])


@dataclass(slots=True, kw_only=True)
class ToolCallItem:
    id: str
    call: ToolCall
    status: ItemStatus = "completed"
    privacy: Privacy = "any"


@dataclass(slots=True, kw_only=True)
class ToolResultItem:
    id: str
    result: ToolResult
    status: ItemStatus = "completed"
    privacy: Privacy = "any"


type Item = MessageItem | ToolCallItem | ToolResultItem


class Conversation:
    """The items of one session, in order. When there is no room for more of them, the oldest are forgotten."""

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._items = list(items)
        self.changes = 0  # how often an item came, went or was cut

    def add(self, item: Item, *, after: str | None = None) -> None:
        """Append ``item``, or put it behind the item with id ``after`` ("root" means in front of all).

        A tool's result is as private as the call was.
        """
        if any(known.id == item.id for known in self._items):
            raise InvalidRequest(f"an item with id {item.id!r} exists already", code="item_exists", param="item.id")
        if isinstance(item, ToolResultItem) and item.result.call_id in self._private_calls:
            item.privacy = "device_only"
        self._items.insert(self._place(after), item)
        self.changes += 1
        while len(self._items) > MOST_ITEMS or self._characters > MOST_CHARACTERS:
            del self._items[0]

    @property
    def _private_calls(self) -> set[str]:
        calls = (item for item in self._items if isinstance(item, ToolCallItem))
        return {item.call.call_id for item in calls if item.privacy == "device_only"}

    @property
    def _characters(self) -> int:
        return sum(map(_length, self._items))

    def _place(self, after: str | None) -> int:
        if after is None:
            return len(self._items)
        return 0 if after == "root" else self._items.index(self.find(after)) + 1

    def get(self, item_id: str) -> Item | None:
        return next((item for item in self._items if item.id == item_id), None)

    def find(self, item_id: str) -> Item:
        """The item with this id.

        Raises:
            InvalidRequest: there is none.
        """
        item = self.get(item_id)
        if item is None:
            raise InvalidRequest(f"expected the id of an item, got {item_id!r}", code="item_not_found", param="item_id")
        return item

    @property
    def last_id(self) -> str | None:
        return self._items[-1].id if self._items else None

    @property
    def last_privacy(self) -> Privacy:
        """Of the last item, which a reply without any speech is about."""
        return self._items[-1].privacy if self._items else "any"

    def withhold(self, item_id: str) -> None:
        """Keep a question from all later turns that may leave the device: it is being answered in private."""
        match self.get(item_id):
            case (MessageItem(role="user") | ToolResultItem()) as question:
                question.privacy = "device_only"

    def previous_id(self, item_id: str) -> str | None:
        """The id of the item in front; None for the first item, and for one that was deleted."""
        pairs = zip(self._items, self._items[1:], strict=False)
        return next((before.id for before, item in pairs if item.id == item_id), None)

    def delete(self, item_id: str) -> None:
        self._items.remove(self.find(item_id))
        self.changes += 1

    def truncate(self, item_id: str, samples: int) -> None:
        """Keep only what was heard of an assistant's spoken message: its first ``samples`` at 24 kHz."""
        item = self.find(item_id)
        if not isinstance(item, MessageItem) or item.role != "assistant" or item.medium != "audio":
            raise InvalidRequest("only an assistant's spoken message can be truncated", param="item_id")
        if samples >= item.samples + SAMPLES_PER_MS:  # clients may round up to a whole millisecond
            raise InvalidRequest(
                f"expected audio_end_ms of at most {_milliseconds(item.samples)}, the audio there is;"
                f" got {_milliseconds(samples)}",
                param="audio_end_ms",
            )
        item.heard = min(samples, item.samples)
        item.status = "incomplete"
        self.changes += 1

    @property
    def awaits_tool(self) -> bool:
        """Whether the last turn called a tool that has given no result yet. Who speaks on waits for it no longer."""
        called: set[str] = set()
        for item in self._items:
            match item:
                case MessageItem(role="user"):
                    called.clear()
                case ToolCallItem(call=call):
                    called.add(call.call_id)
                case ToolResultItem(result=result):
                    called.discard(result.call_id)
        return bool(called)

    def settled(self) -> tuple[Item, ...]:
        """Copies of all items, as they are while nothing is being said."""
        return tuple(_settled(item) for item in self._items)

    def history(
        self, *, privacy: Privacy = "any", heard: Mapping[str, int] | None = None, without: str | None = None
    ) -> tuple[HistoryItem, ...]:
        """What a backend should know, but for the item ``without``; all of it only where nothing leaves the device.

        Messages that are being played are cut to the samples that were ``heard`` so far, by their ids.
        """
        heard = heard or {}
        items = (item for item in self._items if privacy == "device_only" or item.privacy == "any")
        entries = (_entry(item, heard.get(item.id)) for item in items if item.id != without)
        return tuple(entry for entry in entries if entry is not None)


def _settled(item: Item) -> Item:
    """A copy. Of a message only the words that were heard, in one piece that spans the sound that was heard."""
    if not isinstance(item, MessageItem):
        return replace(item)
    text = item.text
    pieces = [] if text is None else [SpokenText(text)]
    return replace(item, pieces=pieces, samples=item.samples if item.heard is None else item.heard, heard=None)


def _length(item: Item) -> int:
    match item:
        case MessageItem(pieces=pieces):
            return sum(len(piece.text) for piece in pieces)
        case ToolCallItem(call=call):
            return len(call.arguments)
        case ToolResultItem(result=result):
            return len(result.output)


def _milliseconds(samples: int) -> int:
    return samples * 1000 // REPLY_SAMPLE_RATE


def _entry(item: Item, heard: int | None) -> HistoryItem | None:
    match item:
        case ToolCallItem(call=call):
            return call
        case ToolResultItem(result=result):
            return result
        case MessageItem(role=role):
            text = item.text if heard is None else item.text_heard(heard)
            return Message(role, text) if text else None
