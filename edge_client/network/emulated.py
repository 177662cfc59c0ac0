"""A bad network inside this process: around the sockets of one call, whatever they carry.

What aioice has under the names used here is held by `tests/test_network_emulated.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from aioice.ice import StunProtocol

from edge_client.network.link import LinkStatistics
from edge_client.network.profile import NetworkProfile
from edge_client.network.wire import Wire
from edge_client.webrtc.ice import Ice

UDP_HEADERS = 28  # bytes: what a datagram takes on the network besides what is in it (IPv4 and UDP)


@dataclass(frozen=True, slots=True)
class EmulationStatistics:
    """What became of the datagrams of one call so far."""

    outgoing: LinkStatistics
    incoming: LinkStatistics


class Emulation:
    """Both directions of the network between a call and the world. It ends with the call's sockets."""

    def __init__(
        self, sockets: Iterable[StunProtocol], profile: NetworkProfile, *, seed: int, way_back: NetworkProfile
    ) -> None:
        self._outgoing = Wire(profile, seed=2 * seed)
        self._incoming = Wire(way_back, seed=2 * seed + 1)
        self._sockets = [_Socket(socket, self._outgoing, self._incoming, self._forget) for socket in sockets]

    def cut(self) -> None:
        """Let nothing through either way from now on; what is under way arrives."""
        self._outgoing.cut()
        self._incoming.cut()

    def restore(self) -> None:
        """Undo `cut`. A cut that the profile has planned is not undone."""
        self._outgoing.restore()
        self._incoming.restore()

    def statistics(self) -> EmulationStatistics:
        return EmulationStatistics(self._outgoing.statistics(), self._incoming.statistics())

    def _forget(self, socket: _Socket) -> None:
        self._sockets.remove(socket)
        if not self._sockets:
            self._outgoing.close()
            self._incoming.close()


def emulate(ice: Ice, profile: NetworkProfile, *, seed: int, way_back: NetworkProfile | None = None) -> Emulation:
    """Put ``profile`` around the sockets of a call that are open now: after its local description was set.

    All datagrams go through it, those of STUN and of the handshake too, but not the talk with a TURN server about
    the relay itself. Cuts that the profile plans are counted from the first datagram of each direction. What comes in
    meets the same network, unless ``way_back`` is another.
    """
    assert ice.sockets, "the sockets open while the local description is set"
    return Emulation(ice.sockets, profile, seed=seed, way_back=way_back or profile)


class _Socket:
    """Stands between aioice's protocol and its transport, and looks to each like the other."""

    def __init__(
        self, protocol: StunProtocol, outgoing: Wire, incoming: Wire, on_lost: Callable[[_Socket], None]
    ) -> None:
        self._transport = protocol.transport
        self._receive, self._lose = protocol.datagram_received, protocol.connection_lost
        self._outgoing, self._incoming, self._on_lost = outgoing, incoming, on_lost
        self._closing = False  # nothing more is taken, but what was sent before still leaves
        self._lost = False
        protocol.transport = cast("asyncio.DatagramTransport", self)
        protocol.datagram_received = self.datagram_received  # type: ignore[method-assign]
        protocol.connection_lost = self.connection_lost  # type: ignore[method-assign]

    # -- what the protocol calls ---------------------------------------------------------------------------------------

    def sendto(self, data: bytes, address: tuple[str, int]) -> None:
        if not self._closing:
            self._outgoing.carry(len(data) + UDP_HEADERS, lambda: self._send(data, address))

    def close(self) -> None:
        """Close behind what is under way, so that the other side hears the farewell."""
        if not self._closing:
            self._closing = True
            self._outgoing.follow(self._transport.close)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    # -- what the transport calls --------------------------------------------------------------------------------------

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        self._incoming.carry(len(data) + UDP_HEADERS, lambda: self._deliver(data, addr))

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = self._closing = True
        self._on_lost(self)
        self._lose(exc)

    # -- what arrives --------------------------------------------------------------------------------------------------

    def _send(self, data: bytes, address: tuple[str, int]) -> None:
        if not self._lost:
            self._transport.sendto(data, address)

    def _deliver(self, data: bytes | str, address: tuple[Any, ...]) -> None:
        if not self._closing:
            self._receive(data, address)
