"""A session on its way from one edge to another: what travels, written as small as it goes.

::

    version byte ▸ deflated lines of JSON: the head ▸ instructions ▸ turns, the newest first

A conversation may be longer than any message may be. So turns are added while there is room, a tool's result never
without its call, and the oldest are left behind. No item holds sound, so none travels. Whoever reads must know already
that the bytes are an edge's own; even so no more is inflated than can have been written.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from edge_client.conversation import Item, MessageItem, SpokenText, ToolCallItem, ToolResultItem
from edge_client.past import NO_PAST, Past, Promise
from edge_client.realtime.keys import EVERYTHING, Grant
from edge_client.realtime.session_config import Json, SessionConfig
from routing.errors import InvalidRequest
from routing.telemetry.phase import Carrier
from routing.turns import ToolCall, ToolResult

VERSION = 1
MOST_BYTES = 34_000  # packed; sealed and written as text it fits, beside an offer, into a body of 64 KiB
MOST_PLAIN_BYTES = 1024 * 1024
RAW_DEFLATE = -15  # without a header and a checksum: the seal has a better one

type _Placed = tuple[int, Item]  # an item and its place in the conversation


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A session between two turns, away from any connection.

    Args:
        grant: by which it was begun; whose it is travels, and nothing else of it
        serial: of the latest ticket that was written for this session, wherever it was; 0 before the first
        connection: the trace of the connection that it leaves
        lasted_sec: how long it went on before, wherever it was
    """

    session_id: str
    config: SessionConfig
    past: Past = NO_PAST
    grant: Grant = EVERYTHING
    serial: int = 0
    connection: Carrier = field(default_factory=dict)
    lasted_sec: float = 0.0


def pack(passage: Passage, *, now: float) -> bytes | None:
    """As bytes, at most `MOST_BYTES`; None where not even the settings and the last turn find room.

    ``now`` is seconds since 1970, as in `unpack`: promises come closer on the way.
    """
    placed = list(enumerate(passage.past.items))
    instructions = [each for each in placed if _instructs(each[1])]
    packed = _Packed()
    if not (packed.add(_head(passage, now)) and packed.add(_lines(instructions))):
        return None
    for number, turn in enumerate(_turns_backward(each for each in placed if not _instructs(each[1]))):
        if not packed.add(_lines(turn)):
            return None if number == 0 else bytes(packed)
    return bytes(packed)


def unpack(packed: bytes, *, now: float) -> Passage:
    """The session of which `pack` made these bytes.

    Raises:
        InvalidRequest: an edge of another version did.
    """
    if packed[:1] != bytes([VERSION]):
        raise InvalidRequest(
            f"expected a ticket of version {VERSION}, got {packed[0] if packed else 'none'}", code="ticket_version"
        )
    head, *lines = map(json.loads, _inflated(packed[1:]).splitlines())
    placed = sorted((entry for line in lines for entry in line), key=lambda entry: entry[0])
    return _passage(head, tuple(_read_item(item) for _, item in placed), now)


# -- bytes -------------------------------------------------------------------------------------------------------------


class _Packed:
    """Lines, each inflatable without those after it: what finds no room is simply not kept."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(9, zlib.DEFLATED, RAW_DEFLATE)
        self._packed = bytearray([VERSION])
        self._plain = 0

    def add(self, content: Any) -> bool:
        """Whether there was room. After the first that had none there is none for any other."""
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        line = text.encode(errors="replace") + b"\n"  # another maker's server may have told half a character
        self._plain += len(line)
        if self._plain > MOST_PLAIN_BYTES:
            return False
        block = self._deflate.compress(line) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        fits = len(self._packed) + len(block) <= MOST_BYTES
        if fits:
            self._packed += block
        return fits

    def __bytes__(self) -> bytes:
        return bytes(self._packed)


def _inflated(deflated: bytes) -> bytes:
    return zlib.decompressobj(RAW_DEFLATE).decompress(deflated, MOST_PLAIN_BYTES)


# -- the head ----------------------------------------------------------------------------------------------------------


def _head(passage: Passage, now: float) -> Json:
    return {
        "session_id": passage.session_id,
        "config": passage.config.wire(),
        "holder": passage.grant.holder,
        "issuer": passage.grant.issuer,
        "is_operator": passage.grant.is_operator,
        "serial": passage.serial,
        "connection": dict(passage.connection),
        "lasted_sec": passage.lasted_sec,
        "turns": passage.past.turns,
        "promises": [asdict(promise) for promise in passage.past.promises],
        "at": now,
    }


def _passage(head: Json, items: tuple[Item, ...], now: float) -> Passage:
    passed_sec = now - head["at"]
    promises = (Promise(each["due_sec"] - passed_sec, each["text"], each["privacy"]) for each in head["promises"])
    return Passage(
        session_id=head["session_id"],
        config=SessionConfig.model_validate(head["config"]),
        past=Past(items=items, turns=head["turns"], promises=tuple(promises)),
        grant=Grant(head["holder"], is_operator=head["is_operator"], issuer=head["issuer"]),
        serial=head["serial"],
        connection=head["connection"],
        lasted_sec=head["lasted_sec"],
    )


# -- items -------------------------------------------------------------------------------------------------------------


def _instructs(item: Item) -> bool:
    return isinstance(item, MessageItem) and item.role == "system"


def _turns_backward(placed: Iterable[_Placed]) -> Iterator[list[_Placed]]:
    """The items from each message of the user to the next, the last turn first."""
    turns: list[list[_Placed]] = []
    for each in placed:
        if not turns or (isinstance(each[1], MessageItem) and each[1].role == "user"):
            turns.append([])
        turns[-1].append(each)
    yield from reversed(turns)


def _lines(placed: Iterable[_Placed]) -> list[tuple[int, Json]]:
    return [(place, _written_item(item)) for place, item in placed]


def _written_item(item: Item) -> Json:
    own: Json = {"id": item.id, "status": item.status, "privacy": item.privacy}
    match item:
        case MessageItem(role=role, medium=medium, text=text, samples=samples):
            return own | {"type": "message", "role": role, "medium": medium, "text": text, "samples": samples}
        case ToolCallItem(call=call):
            return own | {"type": "call", "call": asdict(call)}
        case ToolResultItem(result=result):
            return own | {"type": "result", "result": asdict(result)}


def _read_item(written: Json) -> Item:
    fields = dict(written)
    match fields.pop("type"):
        case "call":
            return ToolCallItem(**fields | {"call": ToolCall(**fields["call"])})
        case "result":
            return ToolResultItem(**fields | {"result": ToolResult(**fields["result"])})
        case _:
            text = fields.pop("text")
            return MessageItem(**fields, pieces=[] if text is None else [SpokenText(text)])
