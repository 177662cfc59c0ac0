"""One connection of a call: sound both ways, and events where the server has them. A call may outlive it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from aiortc import (
    InvalidStateError,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)

from edge_client.caller.dialect import Dialect
from edge_client.caller.packets import Packets
from edge_client.caller.signalling import NO_HEADERS, exchange
from edge_client.network.emulated import emulate
from edge_client.network.profile import Cut, NetworkProfile
from edge_client.webrtc.ice import Ice
from edge_client.webrtc.playout_track import PlayoutTrack
from edge_client.webrtc.receiver import Receiver
from edge_client.webrtc.transceiver import opus_transceiver
from edge_client.webrtc.turn import Relays, ice_server
from routing.errors import BackendUnavailable
from routing.turns import Samples

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_SEC = 10.0
CHANNEL_PATIENCE_SEC = 2.0  # for a data channel that no server of the dialect needs
CLOSE_TIMEOUT_SEC = 5.0
KEEP_ALIVE_SEC = 1.0
POLL_SEC = 0.02  # how often a waiting caller looks around; no measurement depends on it
ENDED = "the other side has ended the call"


@dataclass(frozen=True, slots=True)
class Network:
    """A bad network for the sound and the events of one call; equal seeds are equally bad."""

    profile: NetworkProfile
    seed: int = 1

    def later(self, passed_sec: float) -> Network:
        """The same network for a connection that is made so much later: some of its cuts are over by then."""
        left = (
            Cut(max(cut.at_sec - passed_sec, 0.0), min(cut.duration_sec, cut.at_sec + cut.duration_sec - passed_sec))
            for cut in self.profile.cuts
            if cut.at_sec + cut.duration_sec > passed_sec
        )
        return Network(replace(self.profile, cuts=tuple(left)), self.seed + 1)

    @property
    def cut_sec(self) -> float:
        """How long it is cut from its very beginning."""
        return max((cut.duration_sec for cut in self.profile.cuts if cut.at_sec <= 0), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """What a line joins to the server: a microphone, an ear, and whoever takes its messages."""

    read: Callable[[int], Samples]
    hear: Callable[[Samples], None]
    told: Callable[[str | bytes], None]
    opened: Callable[[], None] = lambda: None  # events can be sent from now on


class Line:
    """Made before it is connected; `hang_up` must follow in any case. While it is ``idle`` it carries no sound."""

    def __init__(
        self,
        ends: Ends,
        *,
        dialect: Dialect,
        loopback: bool,
        network: Network | None,
        idle: bool,
        relays: Relays | None = None,
    ) -> None:
        self.idle = idle
        self.connect_sec: float | None = None  # from the offer until sound could flow
        self._ends = ends
        self._dialect = dialect
        self._network = network
        self._began_at = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []
        servers = [ice_server(relays)] if relays else []  # None would mean a public one
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._connection.on("connectionstatechange", self._note_state)
        self.ice = Ice(addresses=None, loopback=loopback)
        self._transceiver = opus_transceiver(self._connection, PlayoutTrack(self._read))
        self._receiver = Receiver(self._transceiver.receiver, self._hear)
        self._channel: RTCDataChannel = self._connection.createDataChannel(dialect.channel)
        self._channel.on("message", ends.told)
        self._channel.on("open", ends.opened)

    async def connect(
        self, url: str, *, key: str | None, headers: Mapping[str, str] = NO_HEADERS, ticket: str | None = None
    ) -> str | None:
        """Offer, and wait until sound and events can flow; returns the token to resume with, where there is one.

        Raises:
            BackendUnavailable, AtCapacity, InvalidRequest: there is no connection; the message says why.
        """
        description = await self.offer()
        answer = await exchange(description, url=url, key=key, dialect=self._dialect, headers=headers, ticket=ticket)
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(sdp=answer.sdp, type="answer"))
        except Exception as exc:  # a malformed answer comes out of aiortc as any exception there is
            raise BackendUnavailable(f"{url} gave no usable answer: {str(exc) or type(exc).__name__}") from exc
        self._tasks = [asyncio.create_task(work) for work in (self._receiver.run(), self._keep_alive())]
        if not await self._connected():
            raise BackendUnavailable(f"{url} answered, but cannot be reached by UDP: {self.ice.tried()}")
        return answer.token

    async def offer(self) -> str:
        """Open the sockets and describe them."""
        offer = await self._connection.createOffer()
        self.ice.guard(self._connection)  # before the sockets open
        await self._connection.setLocalDescription(offer)
        if self._network:
            emulate(self.ice, self._network.profile, seed=self._network.seed)
        description: str = self._connection.localDescription.sdp
        return description

    async def _connected(self) -> bool:
        """Wait until sound and events can flow; sound alone is enough where the server has no events."""
        if not await self._until(lambda: self.connect_sec is not None, CONNECT_TIMEOUT_SEC):
            return False
        needed = self._dialect.has_events
        patience_sec = CONNECT_TIMEOUT_SEC if needed else CHANNEL_PATIENCE_SEC
        return await self._until(lambda: self._channel.readyState == "open", patience_sec) or not needed

    async def _until(self, condition: Callable[[], bool], timeout: float) -> bool:
        return await until(condition, timeout, is_over=lambda: self.is_over)

    def _note_state(self) -> None:
        if self._connection.connectionState == "connected":
            self.connect_sec = time.monotonic() - self._began_at

    async def _keep_alive(self) -> None:
        while self._dialect.keep_alive:
            if self._channel.readyState == "open":
                self._channel.send(self._dialect.keep_alive)
            await asyncio.sleep(KEEP_ALIVE_SEC)

    # -- while it lasts ------------------------------------------------------------------------------------------------

    def _read(self, count: int) -> Samples:
        return np.zeros(count, np.float32) if self.idle else self._ends.read(count)

    def _hear(self, samples: Samples) -> None:
        if not self.idle:
            self._ends.hear(samples)

    def send(self, text: str) -> None:
        """Send a message.

        Raises:
            BackendUnavailable: the line is closed.
        """
        try:
            self._channel.send(text)
        except InvalidStateError as exc:
            raise BackendUnavailable(ENDED) from exc

    @property
    def is_over(self) -> bool:
        """Whether either side has closed it, or ICE has given it up."""
        silenced = self._dialect.has_events and self._channel.readyState == "closed"
        return silenced or self._connection.connectionState in ("failed", "closed")

    @property
    def quiet_sec(self) -> float:
        """How long nothing has come."""
        heard_at = self.ice.heard_at
        return 0.0 if heard_at is None else asyncio.get_running_loop().time() - heard_at

    def packets(self) -> Packets:
        """How the sound came through so far."""
        return Packets.of(self._receiver.statistics())

    async def hang_up(self) -> None:
        """Close it, the hard way if need be."""
        for task in self._tasks:
            task.cancel()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_SEC):
                await self._connection.close()
        except Exception:
            logger.exception("the call could not be ended in the orderly way")
            self.ice.abort()


async def until(condition: Callable[[], bool], timeout: float | None, *, is_over: Callable[[], bool]) -> bool:
    """Wait for ``condition``; False where that took longer than ``timeout``.

    Raises:
        BackendUnavailable: the call has ended meanwhile.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    while not condition():
        if is_over():
            raise BackendUnavailable(ENDED)
        if deadline is not None and time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_SEC)
    return True
