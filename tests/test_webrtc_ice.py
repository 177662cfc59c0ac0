"""What the guard of the sockets leans on in aiortc and aioice, and which addresses are offered."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aioice import Connection
from aioice.ice import StunProtocol, TransportPolicy
from aioice.stun import Class, Message, Method
from aiortc import RTCConfiguration, RTCDtlsTransport, RTCIceServer, RTCPeerConnection

from edge_client.playout import Playout
from edge_client.webrtc.ice import LOOPBACK, Ice, candidates
from edge_client.webrtc.peer import Peer, PeerSettings
from tests.bystander import bystander
from tests.test_webrtc_checks import check
from tests.test_webrtc_peer import CHROMIUM_OFFER, Notes

EDGE_CLIENT = Path(__file__).parent.parent / "edge_client"


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


async def test_the_private_names_of_the_handshake_are_there() -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    transceiver = connection.addTransceiver("audio")
    connection.createDataChannel("events")
    handshake = transceiver.receiver.transport
    assert list(inspect.signature(handshake._handle_rtp_data).parameters) == ["data", "arrival_time_ms"]
    assert list(inspect.signature(handshake._handle_rtcp_data).parameters) == ["data"]
    assert {"transport", "_recv"} <= set(RTCDtlsTransport._recv_next.__code__.co_names)
    assert handshake.transport._connection._transport_policy is TransportPolicy.ALL
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


async def test_a_call_at_which_much_came_at_once_leaves_the_others_their_turn(nothing_left_behind: None) -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    transport = connection.addTransceiver("audio").receiver.transport.transport
    Ice(addresses=(LOOPBACK,), loopback=False).guard(connection)
    transport._connection._nominated[1] = None  # type: ignore[assignment]  # connected, as far as receiving goes
    for _ in range(200):
        transport._connection.data_received(b"sound", 1)
    async with bystander() as other:
        for _ in range(200):
            await transport._recv()
    await connection.close()
    assert other.turns >= 190


async def test_checks_keep_a_call_alive_and_sound_is_counted() -> None:
    ice, protocol, connection = await opened()
    protocol.datagram_received(b"\x80\x6f" + bytes(60), STRANGER)
    assert (ice.alive_at, ice.sounds, ice.dropped) == (None, 0, 1)
    learn(connection, protocol)
    assert ice.alive_at is not None
    assert not ice.heard_at
    protocol.datagram_received(b"\x80\x6f" + bytes(60), STRANGER)
    assert (ice.heard_at == ice.alive_at, ice.sounds, ice.dropped) == (True, 1, 1)
    protocol.datagram_received(b"\x17\xfe\xfd" + bytes(60), STRANGER)  # events
    assert (ice.heard_at == ice.alive_at, ice.sounds, ice.dropped) == (True, 1, 1)
    await connection.close()


async def test_a_caller_may_send_whichever_way_it_has_checked(nothing_left_behind: None) -> None:
    """It checks three, and nominates each of them. Our check back of the third is the first to be answered, and aioice
    then forgets the second, which it has not checked back; the caller knows of that nothing, and sends there."""
    ice, door, edge = await opened()
    async with found(edge) as caller:
        for address in (STRANGER, OTHER_STRANGER):
            edge.request_received(check(edge), address, door)
        await edge.connect()
        edge.request_received(check(edge), caller, door)
        await asyncio.gather(*(pair.task for pair in edge._check_list if pair.task), return_exceptions=True)
        assert OTHER_STRANGER not in [pair.remote_addr for pair in edge._check_list]
        door.datagram_received(HANDSHAKE, OTHER_STRANGER)
        assert ice.dropped == 0
        assert await edge.recv() == HANDSHAKE
    await edge.close()


async def test_what_is_known_of_one_socket_is_not_believed_at_another() -> None:
    ice, door, edge = await opened((LOOPBACK, "127.0.0.2"))
    learn(edge, door)
    other = next(protocol for protocol in edge._protocols if protocol is not door)
    other.datagram_received(HANDSHAKE, STRANGER)
    assert ice.dropped == 1
    door.datagram_received(HANDSHAKE, STRANGER)
    assert ice.dropped == 1
    await edge.close()


async def test_a_wrong_server_for_relays_is_told_at_the_call(caplog: pytest.LogCaptureFixture) -> None:
    ice = Ice(addresses=(LOOPBACK,), loopback=False)
    servers = [RTCIceServer(urls="turn:127.0.0.1:9?transport=tcp", username="edge", credential="x")]
    connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
    connection.addTransceiver("audio")
    ice.guard(connection)
    await connection.setLocalDescription()
    await connection.close()
    assert "no relay from the TURN server 127.0.0.1:9" in caplog.text


STRANGER, OTHER_STRANGER = (LOOPBACK, 40_000), (LOOPBACK, 40_001)
HANDSHAKE = b"\x16\xfe\xfd" + bytes(60)


@asynccontextmanager
async def found(edge: Connection) -> AsyncIterator[tuple[str, int]]:
    """A caller whose credentials the edge has been told, and who answers checks at this address."""
    caller = Connection(ice_controlling=True)
    caller._local_candidates = await caller.get_component_candidates(1, [LOOPBACK])
    for one, other in ((caller, edge), (edge, caller)):
        other.remote_username, other.remote_password = one.local_username, one.local_password
    yield caller._protocols[0].transport.get_extra_info("sockname")
    await caller.close()


async def opened(addresses: Sequence[str] = (LOOPBACK,)) -> tuple[Ice, StunProtocol, Connection]:
    """A guarded socket that nobody has called yet."""
    peer_connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection = peer_connection.addTransceiver("audio").receiver.transport.transport._connection
    ice = Ice(addresses=addresses, loopback=False)
    ice.guard(peer_connection)
    await connection.gather_candidates()
    return ice, connection._protocols[0], connection


def learn(connection: Connection, protocol: StunProtocol) -> None:
    """A check of the caller that aioice has found to be in order."""
    message = Message(message_method=Method.BINDING, message_class=Class.REQUEST)
    message.attributes["PRIORITY"] = 1
    connection.remote_username, connection.remote_password = "user", "x" * 22
    connection.check_incoming(message, STRANGER, protocol)


async def test_nobody_else_is_asked_for_our_address() -> None:
    peer = await Peer.answer(
        CHROMIUM_OFFER, listener=Notes(), read=Playout().read, settings=PeerSettings(listen_addresses=(LOOPBACK,))
    )
    servers = {(connection.stun_server, connection.turn_server) for connection in peer._ice._connections}
    await peer.close()
    assert servers == {(None, None)}


def test_no_connection_is_made_that_could_ask_a_server_of_aiortcs_choice() -> None:
    """Told nothing, it asks one on the Internet, and waits for five seconds where that cannot be reached."""
    made = [
        line.strip()
        for path in EDGE_CLIENT.rglob("*.py")
        for line in path.read_text().splitlines()
        if "RTCPeerConnection(" in line
    ]
    assert made
    assert all("RTCPeerConnection(RTCConfiguration(iceServers=" in line for line in made)
