"""What a caller may send over the data channel, and what it is told when it sends something else."""

from __future__ import annotations

import asyncio

import pytest
from aiortc import InvalidStateError
from pyee.asyncio import AsyncIOEventEmitter

from edge_client.webrtc.channel import (
    EVENTS_CHANNEL,
    EVENTS_PER_SEC,
    MOST_CHANNELS,
    REFUSALS_SAVED,
    EventsChannel,
)
from edge_client.webrtc.event_pace import LONGEST_FLOOD_SEC, SAVED_SEC
from routing.errors import InvalidRequest
from tests.virtual_time import on_virtual_time

SAVED = round(EVENTS_PER_SEC * SAVED_SEC)


class Wire(AsyncIOEventEmitter):
    """Stands in for aiortc's data channel, whose other end is the test."""

    def __init__(self, label: str = EVENTS_CHANNEL) -> None:
        super().__init__()
        self.label = label
        self.bufferedAmount = 0
        self.sent: list[str] = []
        self.closed = False
        self.fault: Exception | None = None

    def send(self, text: str) -> None:
        if self.fault:
            raise self.fault
        self.sent.append(text)

    def close(self) -> None:
        self.closed = True


class Notes:
    def __init__(self) -> None:
        self.opened = 0
        self.texts: list[str] = []
        self.faults: list[InvalidRequest] = []
        self.excesses: list[str] = []
        self.channel = EventsChannel(
            on_open=self._open,
            on_text=self.texts.append,
            on_refused=self.faults.append,
            on_excess=self.excesses.append,
            maximum_message_bytes=1000,
            maximum_buffered_bytes=5000,
        )

    def _open(self) -> None:
        self.opened += 1

    def offered(self, wire: Wire) -> Wire:
        self.channel.offered(wire)  # type: ignore[arg-type]
        return wire

    @property
    def codes(self) -> set[str]:
        return {fault.code for fault in self.faults}


async def test_text_is_passed_on_and_anything_else_is_answered() -> None:
    notes = Notes()
    wire = notes.offered(Wire())
    for message in ("hello", b"binary", "ü" * 501, "x" * 1000):
        wire.emit("message", message)
    assert notes.opened == 1
    assert notes.texts == ["hello", "x" * 1000]
    assert [str(fault) for fault in notes.faults] == [
        "expected events as text, got a binary message",
        "expected an event of at most 1000 bytes, got 1002",
    ]
    assert notes.channel.refused == 2
    assert not notes.excesses


@on_virtual_time
async def test_a_client_may_tell_a_whole_conversation_at_once_and_is_slowed_then() -> None:
    notes, now = Notes(), asyncio.get_running_loop().time
    wire = notes.offered(Wire())
    for _ in range(SAVED):
        assert notes.channel.has_room(now())
        wire.emit("message", "{}")
    assert not notes.faults
    wire.emit("message", "{}")
    assert not notes.channel.has_room(now())
    assert notes.codes == {"rate_limit_exceeded"}
    await asyncio.sleep(2 / EVENTS_PER_SEC)
    assert notes.channel.has_room(now())
    wire.emit("message", "{}")
    assert len(notes.texts) == SAVED + 2  # nothing that came was dropped
    assert len(notes.faults) == 1  # told once


@on_virtual_time
async def test_who_floods_without_end_is_let_go() -> None:
    notes, now = Notes(), asyncio.get_running_loop().time
    wire = notes.offered(Wire())
    for _ in range(SAVED + 1):
        wire.emit("message", "{}")
    while not notes.excesses:
        await asyncio.sleep(1 / EVENTS_PER_SEC)
        wire.emit("message", "{}")
    assert now() == pytest.approx(LONGEST_FLOOD_SEC, rel=0.01)
    assert len(notes.faults) == 1


@on_virtual_time
async def test_who_goes_on_sending_what_is_refused_is_let_go() -> None:
    notes = Notes()
    wire = notes.offered(Wire())
    for _ in range(REFUSALS_SAVED):
        wire.emit("message", b"binary")
    assert not notes.excesses
    wire.emit("message", b"binary")
    assert len(notes.excesses) == 1
    assert len(notes.faults) == REFUSALS_SAVED


async def test_of_many_channels_the_first_of_that_name_is_taken() -> None:
    notes = Notes()
    chat, events, second = notes.offered(Wire("chat")), notes.offered(Wire()), notes.offered(Wire())
    assert [wire.closed for wire in (chat, events, second)] == [True, False, True]
    second.emit("message", "hello")
    assert notes.texts == []
    assert notes.opened == 1


async def test_a_caller_cannot_open_channels_without_end() -> None:
    notes = Notes()
    for _ in range(MOST_CHANNELS):
        notes.offered(Wire("chat"))
    assert not notes.excesses
    notes.offered(Wire("chat"))
    assert notes.excesses == [f"more than {MOST_CHANNELS} data channels"]


async def test_nothing_is_sent_before_it_is_open_nor_to_who_does_not_read() -> None:
    notes = Notes()
    assert not notes.channel.send("{}")
    wire = notes.offered(Wire())
    assert notes.channel.send("{}")
    wire.bufferedAmount = 5001
    assert not notes.channel.send("{}")
    assert wire.sent == ["{}"]


@pytest.mark.parametrize("fault", [InvalidStateError("closed"), ValueError("too long")])
async def test_what_cannot_be_sent_is_told(fault: Exception) -> None:
    notes = Notes()
    wire = notes.offered(Wire())
    wire.fault = fault
    assert not notes.channel.send("{}")
