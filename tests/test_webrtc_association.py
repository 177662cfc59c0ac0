"""Callers who send fragments, streams and messages without end: each loses its own call, and nothing is kept."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiortc import RTCConfiguration, RTCDataChannel, RTCDataChannelParameters, RTCPeerConnection, RTCSctpTransport
from aiortc.rtcsctptransport import (
    SCTP_DATA_FIRST_FRAG,
    SCTP_DATA_LAST_FRAG,
    SCTP_DATA_UNORDERED,
    WEBRTC_STRING,
    DataChunk,
    InboundStream,
    serialize_packet,
)

from edge_client.webrtc.association import FRAGMENTS_SAVED, MOST_EARLY, MOST_FRAGMENTS, MOST_STREAMS, bound_association


async def test_the_private_names_of_aiortc_are_there() -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.createDataChannel("events")
    association = connection.sctp
    assert association is not None
    assert list(inspect.signature(association._handle_data).parameters) == ["data"]
    assert list(inspect.signature(association._receive_chunk).parameters) == ["chunk"]
    assert association._advertised_rwnd == 1024 * 1024
    assert association._sack_misordered == set()
    assert association._inbound_streams == {}
    assert InboundStream().reassembly == []
    await connection.close()


class Sender:
    """Hands DATA chunks to an association as if they had come from the network."""

    def __init__(self, association: RTCSctpTransport) -> None:
        self.association = association
        self.faults: list[str] = []
        self._next = association._last_received_tsn = 0

    async def send(self, flags: int, data: bytes = b"x" * 1000, *, stream: int = 0, skip: int = 0) -> None:
        self._next += 1 + skip
        chunk = DataChunk(flags=flags)
        chunk.tsn, chunk.stream_id, chunk.stream_seq = self._next, stream, 0
        chunk.protocol, chunk.user_data = WEBRTC_STRING, data
        await self.association._receive_chunk(chunk)

    def begin_again(self) -> None:
        """Send what was skipped."""
        self._next = 0

    @property
    def kept(self) -> int:
        streams = self.association._inbound_streams.values()
        return sum(len(chunk.user_data) for stream in streams for chunk in stream.reassembly)


@asynccontextmanager
async def sender() -> AsyncIterator[Sender]:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.createDataChannel("events")
    assert connection.sctp is not None
    hostile = Sender(connection.sctp)
    bound_association(connection.sctp, on_excess=hostile.faults.append)
    yield hostile
    await connection.close()


async def test_a_message_without_an_end_is_cut_off_at_what_there_was_room_for() -> None:
    async with sender() as hostile:
        await hostile.send(SCTP_DATA_FIRST_FRAG, b"x" * 1100)
        for _ in range(30_000):  # 31 MB, had they been kept
            await hostile.send(0, b"x" * 1100)
        assert hostile.faults == ["more unfinished messages than there was room for"]
        assert hostile.kept <= 1024 * 1024 + 1100


async def test_tiny_fragments_are_counted_and_not_only_weighed() -> None:
    async with sender() as hostile:
        await hostile.send(SCTP_DATA_FIRST_FRAG, b"x")
        for _ in range(5000):
            await hostile.send(0, b"x")
    assert hostile.faults == [f"more than {MOST_FRAGMENTS} fragments of unfinished messages"]


async def test_messages_with_gaps_between_them_are_not_remembered_for_ever() -> None:
    whole = SCTP_DATA_FIRST_FRAG | SCTP_DATA_LAST_FRAG | SCTP_DATA_UNORDERED
    async with sender() as hostile:
        for _ in range(1500):
            await hostile.send(whole, b"x", skip=1)
        assert not hostile.faults
        assert len(hostile.association._sack_misordered) == MOST_EARLY


async def test_what_was_missing_is_taken_even_when_no_more_may_come_early() -> None:
    whole = SCTP_DATA_FIRST_FRAG | SCTP_DATA_LAST_FRAG | SCTP_DATA_UNORDERED
    async with sender() as unlucky:
        await unlucky.send(whole, b"x", skip=1)  # the first is lost, and repeated only after all others
        for _ in range(MOST_EARLY + 100):
            await unlucky.send(whole, b"x")
        unlucky.begin_again()
        await unlucky.send(whole, b"x")
        assert not unlucky.faults
        assert unlucky.association._sack_misordered == set()
        assert unlucky.association._last_received_tsn == 1 + MOST_EARLY


async def test_streams_that_nobody_opened_are_counted() -> None:
    whole = SCTP_DATA_FIRST_FRAG | SCTP_DATA_LAST_FRAG
    async with sender() as hostile:
        for stream in range(1000):
            await hostile.send(whole, b"x", stream=stream)
        assert hostile.faults == [f"more than {MOST_STREAMS} streams"]
        assert len(hostile.association._inbound_streams) == MOST_STREAMS + 1


async def test_more_fragments_than_a_caller_has_reason_for_are_as_good_as_lost() -> None:
    whole = SCTP_DATA_FIRST_FRAG | SCTP_DATA_LAST_FRAG | SCTP_DATA_UNORDERED
    async with sender() as busy:
        for _ in range(FRAGMENTS_SAVED * 2):
            await busy.send(whole, b"x")
        assert not busy.faults
        received = busy.association._last_received_tsn
    assert received is not None
    assert FRAGMENTS_SAVED <= received < FRAGMENTS_SAVED * 1.5  # what comes in the time of the test is added


@pytest.mark.parametrize("packet", [b"", b"\xff" * 40, bytes(12), bytes(1500)])
async def test_noise_is_passed_over(packet: bytes) -> None:
    async with sender() as hostile:
        await hostile.association._handle_data(packet)
        assert not hostile.faults


async def test_what_makes_aiortc_fail_ends_the_call() -> None:
    async with sender() as hostile:
        await hostile.association._handle_data(packed(hostile, b"\xff\xfe"))
    assert len(hostile.faults) == 1
    assert "UnicodeDecodeError" in hostile.faults[0]


async def test_a_broken_line_is_no_fault_of_the_caller() -> None:
    async with sender() as honest:
        honest.association._remote_port = 5000
        with pytest.raises(ConnectionError):  # there is nobody to acknowledge it to
            await honest.association._handle_data(packed(honest, b"hello"))
    assert not honest.faults


def packed(sender: Sender, text: bytes) -> bytes:
    """A message on a channel that is open."""
    sender.association._data_channels[0] = RTCDataChannel(
        sender.association, RTCDataChannelParameters(label="events", id=0, negotiated=True), False
    )
    chunk = DataChunk(flags=SCTP_DATA_FIRST_FRAG | SCTP_DATA_LAST_FRAG)
    chunk.tsn, chunk.stream_id, chunk.stream_seq = 1, 0, 0
    chunk.protocol, chunk.user_data = WEBRTC_STRING, text
    return serialize_packet(5000, 5000, sender.association._local_verification_tag, chunk)
