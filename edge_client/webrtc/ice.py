"""What aioice leaves open: which addresses a call listens on, and what a stranger's datagrams may cost.

The private names of aiortc and aioice used here are held by `tests/test_webrtc_ice.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from aioice import Candidate, Connection
from aioice.ice import StunProtocol
from aiortc import RTCPeerConnection

LOOPBACK = "127.0.0.1"

# A datagram that comes before the handshake waits in a queue, from whomever it is. A handshake needs a handful, and
# sound is taken out as it comes: a queue of this length means that someone is filling it.
LONGEST_QUEUE = 256


class Ice:
    """The sockets of one call. Give it the peer connection after the offer is set and before the answer is."""

    def __init__(self, *, addresses: Sequence[str] | None, loopback: bool) -> None:
        self._listen_addresses = addresses
        self._loopback = loopback
        self._connections: list[Connection] = []
        self.heard_at: float | None = None  # when the last datagram came, on the loop's clock
        self.received = 0  # datagrams in all
        self.dropped = 0  # datagrams that were empty or found the queue full

    def guard(self, peer_connection: RTCPeerConnection) -> None:
        """Take hold of every socket that the answer will open."""
        for transport in peer_connection._RTCPeerConnection__iceTransports:  # type: ignore[attr-defined]  # noqa: SLF001
            self._guard(transport._connection)  # noqa: SLF001

    def abort(self) -> None:
        """Close the sockets at once, for when the orderly way has failed."""
        for protocol in self.sockets:
            protocol.transport.abort()

    @property
    def sockets(self) -> list[StunProtocol]:
        """All that are open. They open while the local description is set."""
        return [protocol for connection in self._connections for protocol in connection._protocols]  # noqa: SLF001

    def _guard(self, connection: Connection) -> None:
        self._connections.append(connection)
        self._listen_on_own_addresses(connection)
        self._bound_queue(connection)

    def _listen_on_own_addresses(self, connection: Connection) -> None:
        gather = connection.get_component_candidates

        async def gather_own(component: int, addresses: list[str], timeout: int = 5) -> list[Candidate]:
            return await gather(component, self._addresses(addresses), timeout)

        connection.get_component_candidates = gather_own  # type: ignore[method-assign]

    def _addresses(self, found: Sequence[str]) -> list[str]:
        """``found`` are the addresses of this machine, without those that no other machine can reach."""
        addresses = list(found if self._listen_addresses is None else self._listen_addresses)
        if self._loopback and LOOPBACK not in addresses:
            addresses.append(LOOPBACK)
        return addresses or [LOOPBACK]

    def _bound_queue(self, connection: Connection) -> None:
        take, queue = connection.data_received, connection._queue  # noqa: SLF001
        loop = asyncio.get_running_loop()

        def take_bounded(data: bytes, component: int) -> None:
            if not data or queue.qsize() >= LONGEST_QUEUE:
                self.dropped += 1  # aiortc looks at the first byte: an empty datagram would end the call
                return
            self.heard_at = loop.time()
            self.received += 1
            take(data, component)

        connection.data_received = take_bounded  # type: ignore[method-assign]


def candidates(description: str) -> Iterator[str]:
    """The addresses that a session description offers."""
    for line in description.splitlines():
        if line.startswith("a=candidate:"):
            yield line.split(" ")[4]
