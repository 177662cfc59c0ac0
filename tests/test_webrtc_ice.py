"""What the guard of the sockets leans on in aiortc and aioice, and which addresses are offered."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from aioice import Connection
from aiortc import RTCConfiguration, RTCPeerConnection

from edge_client.webrtc.ice import LOOPBACK, Ice, candidates


async def test_the_private_names_of_aiortc_and_aioice_are_there() -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTransceiver("audio")
    (transport,) = connection._RTCPeerConnection__iceTransports  # type: ignore[attr-defined]
    assert isinstance(transport._connection, Connection)
    assert isinstance(transport._connection._queue, asyncio.Queue)
    assert transport._connection._protocols == []
    assert list(inspect.signature(transport._connection.get_component_candidates).parameters) == [
        "component",
        "addresses",
        "timeout",
    ]
    assert list(inspect.signature(transport._connection.data_received).parameters) == ["data", "component"]
    await connection.close()


@pytest.mark.parametrize(
    ("found", "addresses", "loopback", "offered"),
    [
        (["192.0.2.1"], None, False, ["192.0.2.1"]),
        (["192.0.2.1"], None, True, ["192.0.2.1", LOOPBACK]),
        ([], None, False, [LOOPBACK]),  # a machine without a network
        (["192.0.2.1", "192.0.2.2"], ("192.0.2.2",), False, ["192.0.2.2"]),
        (["192.0.2.1"], (LOOPBACK,), True, [LOOPBACK]),
    ],
)
def test_which_addresses_are_offered(
    found: list[str], addresses: tuple[str, ...] | None, loopback: bool, offered: list[str]
) -> None:
    assert Ice(addresses=addresses, loopback=loopback)._addresses(found) == offered


async def test_a_guarded_connection_listens_where_it_was_told(nothing_left_behind: None) -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTransceiver("audio")
    Ice(addresses=(LOOPBACK,), loopback=False).guard(connection)
    await connection.setLocalDescription()
    assert list(candidates(connection.localDescription.sdp)) == [LOOPBACK]
    await connection.close()
