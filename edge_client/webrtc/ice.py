"""What aioice leaves open: which addresses a call listens on, and what a datagram may cost.

The private names of aiortc and aioice used here are held by `tests/test_webrtc_ice.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from aioice import Candidate, Connection
from aioice.ice import CandidatePair, StunProtocol, TransportPolicy
from aioice.turn import TurnTransport
from aiortc import RTCDtlsTransport, RTCIceTransport, RTCPeerConnection

from edge_client.webrtc.checks import Address, hasten
from edge_client.webrtc.gate import Gate, is_check, is_sound
from edge_client.webrtc.handshake import insist

logger = logging.getLogger(__name__)

PAIR_TYPES = ("relay", "srflx", "prflx", "host")  # the farther one of the two ends tells
PAIR_STATES = {"SUCCEEDED": "answered", "IN_PROGRESS": "no answer", "FAILED": "no answer"}
SHOWN_PAIRS = 6
NOTHING_OFFERED: Mapping[tuple[str, int], str] = MappingProxyType({})
LOOPBACK = "127.0.0.1"

# What was let in waits in a queue until the handshake or the sound takes it, which is at once: a queue of this length
# means that someone is filling it.
LONGEST_QUEUE = 256

# A caller sends fifty packets of sound a second, a few reports and checks, and what its events need.
DATAGRAMS_PER_SEC = 300

GATHER_TIMEOUT_SEC = 2  # for a TURN server that does not answer: the caller waits for our answer meanwhile


class Ice:
    """The sockets of one call. Give it the peer connection after the offer is set and before the answer is.

    ``offered`` is what kind of address the other side calls each of its own, where it tells and we do not check them.
    """

    def __init__(
        self,
        *,
        addresses: Sequence[str] | None,
        loopback: bool,
        datagrams_per_sec: int = DATAGRAMS_PER_SEC,
        offered: Mapping[tuple[str, int], str] = NOTHING_OFFERED,
    ) -> None:
        self._listen_addresses = addresses
        self._offered = offered
        self._loopback = loopback
        self._gate = Gate(datagrams_per_sec=datagrams_per_sec)
        self._connections: list[Connection] = []
        self._known: set[tuple[StunProtocol, Address]] = set()  # ways that are the caller's; bounded like checks
        self.heard_at: float | None = None  # when the last datagram of sound or events came, on the loop's clock
        self.alive_at: float | None = None  # likewise, or the last connectivity check
        self.sounds = 0  # datagrams of sound in all, with the reports on it
        self.dropped = 0  # datagrams that were not let in

    def guard(self, peer_connection: RTCPeerConnection) -> None:
        """Take hold of every socket that the answer will open."""
        for transport in peer_connection._RTCPeerConnection__iceTransports:  # type: ignore[attr-defined]  # noqa: SLF001
            self._guard(transport._connection)  # noqa: SLF001
            _take_turns(transport)
        for handshake in _handshakes(peer_connection):
            self._note_senders(handshake)
            insist(handshake)

    def abort(self) -> None:
        """Close the sockets at once, for when the orderly way has failed."""
        for protocol in self.sockets:
            transport = protocol.transport
            end = transport.close if isinstance(transport, TurnTransport) else transport.abort
            end()

    @property
    def sockets(self) -> list[StunProtocol]:
        """All that are open. They open while the local description is set."""
        return [protocol for connection in self._connections for protocol in connection._protocols]  # noqa: SLF001

    @property
    def pair_type(self) -> str | None:
        """What kind of address the way to the caller needs: "relay", "srflx", "prflx" or "host"; None before."""
        pairs = [pair for connection in self._connections for pair in connection._nominated.values()]  # noqa: SLF001
        kinds = {kind for pair in pairs for kind in (pair.local_candidate.type, self._remote_kind(pair))}
        return next((kind for kind in PAIR_TYPES if kind in kinds), None)

    def _remote_kind(self, pair: CandidatePair) -> str:
        """As the other side called it. Who only came from there is told from a relay by nothing else."""
        return self._offered.get(pair.remote_addr, pair.remote_candidate.type)

    def tried(self) -> str:
        """Which ways were tried and what became of each, for a person who wonders why there is no call."""
        pairs = [pair for connection in self._connections for pair in connection._check_list]  # noqa: SLF001
        if not pairs:
            return "there was no address to try"
        shown = "; ".join(_told(pair) for pair in pairs[:SHOWN_PAIRS])
        return shown if len(pairs) <= SHOWN_PAIRS else f"{shown}; and {len(pairs) - SHOWN_PAIRS} others"

    def _guard(self, connection: Connection) -> None:
        self._connections.append(connection)
        self._listen_on_own_addresses(connection)
        hasten(connection, on_check=self._checked)

    def _checked(self, protocol: StunProtocol, address: Address) -> None:
        """A check that was answered leaves the caller free to send this way, and only the caller knows which it takes.

        aioice forgets a way that it has not checked back yet as soon as another one is found to work.
        """
        self._known.add((protocol, address))
        self.alive_at = asyncio.get_running_loop().time()

    def _listen_on_own_addresses(self, connection: Connection) -> None:
        gather = connection.get_component_candidates

        async def gather_own(
            component: int, addresses: list[str], timeout: int = GATHER_TIMEOUT_SEC
        ) -> list[Candidate]:
            relayed_only = connection._transport_policy is TransportPolicy.RELAY  # noqa: SLF001
            own = await gather(component, [] if relayed_only else self._addresses(addresses), timeout)
            for protocol in connection._protocols:  # noqa: SLF001
                self._watch(connection, protocol)
            if connection.turn_server and not any(candidate.type == "relay" for candidate in own):
                logger.error("no relay from the TURN server %s:%s; does it take our secret?", *connection.turn_server)
            return own

        connection.get_component_candidates = gather_own  # type: ignore[method-assign]

    def _addresses(self, found: Sequence[str]) -> list[str]:
        """``found`` are the addresses of this machine, without those that no other machine can reach."""
        addresses = list(found if self._listen_addresses is None else self._listen_addresses)
        if self._loopback and LOOPBACK not in addresses:
            addresses.append(LOOPBACK)
        return addresses or [LOOPBACK]

    # -- what comes in -------------------------------------------------------------------------------------------------

    def _watch(self, connection: Connection, protocol: StunProtocol) -> None:
        take_check, queue = protocol.datagram_received, connection._queue  # noqa: SLF001
        loop = asyncio.get_running_loop()
        username = f"{connection.local_username}:".encode()

        def take(datagram: bytes, address: tuple[Any, ...]) -> None:
            sender = address[:2]
            is_known = (protocol, sender) in self._known or _is_checked(connection, protocol, sender)
            if is_known:
                self._known.add((protocol, sender))
            now = loop.time()
            admitted = self._gate.admits(datagram, known=is_known, username=username, now=now)
            if not admitted or queue.qsize() >= LONGEST_QUEUE:
                self.dropped += 1
            elif is_check(datagram):
                take_check(datagram, address)
            else:
                self.heard_at = self.alive_at = now
                self.sounds += is_sound(datagram)
                connection.data_received(datagram, protocol.local_candidate.component)

        protocol.datagram_received = take  # type: ignore[method-assign,assignment]

    def _note_senders(self, handshake: RTCDtlsTransport) -> None:
        """Tell the gate who speaks: what comes out of decryption is the caller's own."""
        take_sound, take_report = handshake._handle_rtp_data, handshake._handle_rtcp_data  # noqa: SLF001

        async def take_noted_sound(data: bytes, arrival_time_ms: int) -> None:
            self._gate.heard(data)
            await take_sound(data, arrival_time_ms)

        async def take_noted_report(data: bytes) -> None:
            self._gate.heard(data)
            await take_report(data)

        handshake._handle_rtp_data = take_noted_sound  # type: ignore[method-assign]  # noqa: SLF001
        handshake._handle_rtcp_data = take_noted_report  # type: ignore[method-assign]  # noqa: SLF001


def _told(pair: CandidatePair) -> str:
    """The two ends of a way, what kind of address each is, and how the checks of it went."""
    near, far = pair.local_candidate, pair.remote_candidate
    became = PAIR_STATES.get(pair.state.name, "not tried")
    return f"{near.host}:{near.port} ({near.type}) to {far.host}:{far.port} ({far.type}): {became}"


def _take_turns(transport: RTCIceTransport) -> None:
    """Datagrams that came at once would be worked off at once, while all other calls wait."""
    receive, queue = transport._recv, transport._connection._queue  # noqa: SLF001

    async def receive_in_turn() -> bytes:
        if not queue.empty():
            await asyncio.sleep(0)
        return await receive()

    transport._recv = receive_in_turn  # noqa: SLF001


def _is_checked(connection: Connection, protocol: StunProtocol, address: tuple[Any, ...]) -> bool:
    """Whether this socket and ``address`` are to check each other: the other side is the caller, or was named by it."""
    return any(
        pair.protocol is protocol and pair.remote_addr == address
        for pair in connection._check_list  # noqa: SLF001
    )


def _handshakes(peer_connection: RTCPeerConnection) -> set[RTCDtlsTransport]:
    parts = [transceiver.receiver for transceiver in peer_connection.getTransceivers()]
    data = [] if peer_connection.sctp is None else [peer_connection.sctp.transport]
    return {part.transport for part in parts} | set(data)


def candidates(description: str) -> Iterator[str]:
    """The addresses that a session description offers."""
    for line in description.splitlines():
        if line.startswith("a=candidate:"):
            yield line.split(" ")[4]
