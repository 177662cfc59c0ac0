"""A handshake of which any one datagram is lost."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from aiortc import RTCConfiguration, RTCDtlsTransport, RTCPeerConnection
from OpenSSL import SSL

from edge_client.webrtc.handshake import PAUSES_SEC, Flight
from tests.peers import Caller
from tests.test_webrtc_peer import answer
from tests.virtual_time import on_virtual_time


async def test_the_private_names_of_aiortc_are_there() -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    handshake = connection.addTransceiver("audio").receiver.transport
    assert list(inspect.signature(handshake._do_handshake).parameters) == []
    assert {"transport", "_send"} <= set(RTCDtlsTransport._write_ssl.__code__.co_names)
    assert {"transport", "_recv"} <= set(RTCDtlsTransport._recv_next.__code__.co_names)
    await connection.close()


class Line:
    """What is sent is noted; the test says what comes."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, bytes]] = []
        self.coming: asyncio.Queue[bytes] = asyncio.Queue()

    async def send(self, datagram: bytes) -> None:
        self.sent.append((round(asyncio.get_running_loop().time(), 3), datagram))


@on_virtual_time
async def test_a_flight_that_is_not_answered_is_repeated_and_then_left_to_openssl() -> None:
    line = Line()
    flight = Flight(line.send, line.coming.get)
    repeating = asyncio.create_task(flight.repeat())
    await flight.send(b"one")
    await flight.send(b"two")
    await asyncio.sleep(10)
    again = PAUSES_SEC[0] + PAUSES_SEC[1]
    moments = [0.0, 0.0, PAUSES_SEC[0], PAUSES_SEC[0], again, again]
    assert line.sent == [(round(at, 3), data) for at, data in zip(moments, [b"one", b"two"] * 3, strict=True)]
    repeating.cancel()


@on_virtual_time
async def test_the_next_flight_takes_the_place_of_the_one_before() -> None:
    line = Line()
    flight = Flight(line.send, line.coming.get)
    repeating = asyncio.create_task(flight.repeat())
    await flight.send(b"first")
    await asyncio.sleep(0.1)
    line.coming.put_nowait(b"answer")
    assert await flight.receive() == b"answer"
    await flight.send(b"second")
    await asyncio.sleep(0.25)
    assert [data for _, data in line.sent] == [b"first", b"second", b"second"]
    repeating.cancel()


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize(("end", "which"), [("caller", 0), ("edge", 0), ("edge", 1)])
async def test_a_lost_datagram_is_repeated_without_openssl(
    nothing_left_behind: None, monkeypatch: pytest.MonkeyPatch, end: str, which: int
) -> None:
    """All but the caller's last: it then takes the handshake for done, and OpenSSL's timer at the edge has to help."""
    monkeypatch.setattr(SSL.Connection, "DTLSv1_get_timeout", lambda _: None)
    async with Caller() as caller:
        peer = await answer(await caller.offer())
        running = asyncio.create_task(peer.run())
        await caller.accept(peer.description)
        lose(caller.connection if end == "caller" else peer._connection, which)
        await caller.connected()
        await caller.opened()
    assert await running == "hung up"


def lose(connection: RTCPeerConnection, which: int) -> None:
    """Of the handshake's datagrams that one end sends."""
    transport = connection.getTransceivers()[0].receiver.transport.transport
    send, count = transport._connection.send, 0

    async def send_all_but_one(data: bytes) -> None:
        nonlocal count
        is_handshake = 19 < data[0] < 64
        count += is_handshake
        if not (is_handshake and count == which + 1):
            await send(data)

    transport._send = send_all_but_one
