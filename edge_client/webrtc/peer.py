"""One caller over WebRTC: the only place of the server that knows aiortc's connections."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Literal, Protocol, Self
from weakref import WeakSet

import numpy as np
from aiortc import (
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from edge_client.comma_separated import CommaSeparated
from edge_client.webrtc.association import bound_association
from edge_client.webrtc.channel import EVENTS_PER_SEC, EventsChannel
from edge_client.webrtc.ice import Ice, candidates
from edge_client.webrtc.loss_reports import on_loss_report
from edge_client.webrtc.moments import ConnectMoments
from edge_client.webrtc.offer import RELAYED_CANDIDATES, guard_offer, offered_kinds, with_opus_parameters
from edge_client.webrtc.opus import wants_dtx
from edge_client.webrtc.playout_track import PlayoutTrack, PlayoutTrackStatistics
from edge_client.webrtc.pulse import Pulse
from edge_client.webrtc.receiver import Receiver, ReceiverStatistics
from edge_client.webrtc.transceiver import opus_transceiver
from edge_client.webrtc.turn import TurnSettings, own_servers
from routing.errors import AntiphonError, AtCapacity, InvalidRequest
from routing.turns import Samples

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT_SEC = 5.0
SLOWEST_CHECKS_SEC = 6.0  # from one connectivity check of a caller to the next; browsers make one every 2.5 s

type Ending = Literal["hung up", "never connected", "vanished", "closed"]  # "closed" is our own doing


class PeerListener(Protocol):
    """Told what comes from the caller, on the event loop. What it raises ends the call and comes out of `Peer.run`."""

    def heard(self, samples: Samples) -> None:
        """The next stretch of the caller's voice, mono at 16 kHz."""
        ...

    def opened(self) -> None:
        """The data channel is open: `Peer.send` works from here on. Never called for a caller without one."""
        ...

    def received(self, text: str) -> None:
        """One message on the data channel."""
        ...

    def refused(self, fault: InvalidRequest) -> None:
        """A message came that was not taken."""
        ...

    def acknowledged(self) -> None:
        """What was read until now was heard."""
        ...

    def lost(self) -> None:
        """What was read since the last `acknowledged` was lost on the way."""
        ...


def _literal(address: str) -> str:
    return str(ip_address(address))


type Addresses = Annotated[CommaSeparated[Annotated[str, AfterValidator(_literal)]], Field(min_length=1)]


class PeerSettings(BaseModel):
    """How calls over WebRTC are taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    connect_timeout_sec: float = Field(default=10.0, gt=0)  # from the answer until sound can flow
    suspect_timeout_sec: float = Field(default=3.0, gt=0)  # without any sign of life; a browser sends fifty a second
    vanish_timeout_sec: float = Field(default=10.0, gt=0)  # likewise; then the connection is given up
    resume_timeout_sec: float = Field(default=60.0, ge=0)  # how long a session waits for a caller who vanished
    maximum_message_bytes: int = Field(default=256 * 1024, gt=0)  # one data-channel message from the caller
    maximum_buffered_bytes: int = Field(default=1024 * 1024, gt=0)  # sent to the caller and not yet taken
    listen_addresses: Addresses | None = None  # None: all of this machine
    loopback: bool = False  # listen on 127.0.0.1 as well, for callers on this machine
    turn: TurnSettings = TurnSettings()  # a relay for callers whom no direct way leads to
    relay: bool = False  # this machine cannot be reached: take a relay of its own for each call, and check the callers'

    @model_validator(mode="after")
    def _a_relay_needs_a_server(self) -> Self:
        if self.relay and not self.turn.urls:
            raise ValueError("expected a TURN server (peer.turn) for the relay of the edge, got none")
        return self


@dataclass(frozen=True, slots=True)
class PeerStatistics:
    """What went over one call so far."""

    connect_sec: float | None  # from the answer until sound could flow
    suspected: int  # times the caller was quiet for longer than `PeerSettings.suspect_timeout_sec`
    dropped_datagrams: int
    refused_messages: int
    receiver: ReceiverStatistics
    playout: PlayoutTrackStatistics


_living: WeakSet[RTCPeerConnection] = WeakSet()


def peer_connections() -> int:
    """How many connections are in memory, those that have ended and that nobody has swept away yet included."""
    return len(_living)


class Peer:
    """One call, from its offer to its end.

    `answer` makes it, `run` must be called soon and serves it, and both leave nothing behind when they are done.
    """

    def __init__(
        self,
        *,
        listener: PeerListener,
        read: Callable[[int], Samples],
        settings: PeerSettings,
        offered: Mapping[tuple[str, int], str],
        events_per_sec: float,
        dtx: bool = False,
    ) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        servers = own_servers(settings.turn, now=time.time()) if settings.relay else []
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))  # None would mean a public server
        _living.add(self._connection)
        self._ice = Ice(addresses=settings.listen_addresses, loopback=settings.loopback, offered=offered)
        self._listener = listener
        self._read_reply = read
        self._pulse = Pulse(self._loop.time())
        self._track = PlayoutTrack(self._read, dtx=dtx)
        self._transceiver = opus_transceiver(self._connection, self._track)
        on_loss_report(self._transceiver.sender, self._track.lost)
        self._receiver = Receiver(self._transceiver.receiver, self._hear)
        self._channel = EventsChannel(
            on_open=lambda: self._tell(listener.opened),
            on_text=lambda text: self._tell(lambda: listener.received(text)),
            on_refused=lambda fault: self._tell(lambda: listener.refused(fault)),
            on_excess=self._let_go,
            maximum_message_bytes=settings.maximum_message_bytes,
            maximum_buffered_bytes=settings.maximum_buffered_bytes,
            events_per_sec=events_per_sec,
        )
        self._description = ""
        self.moments = ConnectMoments(offered=self._loop.time())
        self._answered_at = 0.0
        self._suspect = False
        self._suspected = 0
        self._settled = asyncio.Event()  # connected, or over before that
        self._over = asyncio.Event()
        self._ending: Ending = "closed"
        self._failure: Exception | None = None
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def answer(
        cls,
        offer: str,
        *,
        listener: PeerListener,
        read: Callable[[int], Samples],
        settings: PeerSettings,
        events_per_sec: float = EVENTS_PER_SEC,
    ) -> Self:
        """Take an offer; `description` then holds the answer.

        ``read`` is called every 20 ms with 480 and returns as many samples of the reply at 24 kHz. While the link is
        cut it is not called, and the caller is sent silence. Events that come faster than ``events_per_sec`` are left
        with their sender for a while, 0 is no limit.

        Raises:
            InvalidRequest: the offer cannot be answered.
            AtCapacity: no socket could be opened for the call.
        """
        guarded = guard_offer(offer, candidates=RELAYED_CANDIDATES if settings.relay else 0)
        peer = cls(
            listener=listener,
            read=read,
            settings=settings,
            offered=offered_kinds(offer),
            events_per_sec=events_per_sec,
            dtx=wants_dtx(guarded),
        )
        try:
            await peer._negotiate(guarded)
        except BaseException as exc:
            await peer.close()
            if isinstance(exc, AntiphonError) or not isinstance(exc, Exception):
                raise
            # A malformed offer comes out of aiortc as any exception there is.
            reason = str(exc) or type(exc).__name__
            raise InvalidRequest(
                f"expected an SDP offer of Opus that can be answered, got one that cannot: {reason}",
                code="invalid_offer",
                param="sdp",
            ) from exc
        return peer

    async def _negotiate(self, offer: str) -> None:
        connection = self._connection
        connection.on("datachannel", self._channel.offered)
        connection.on("connectionstatechange", self._state_changed)
        connection.on("iceconnectionstatechange", self._ice_state_changed)
        await connection.setRemoteDescription(RTCSessionDescription(sdp=offer, type="offer"))
        self._ice.guard(connection)
        if connection.sctp is not None:
            bound_association(connection.sctp, on_excess=self._let_go, has_room=self._channel.has_room)
        await connection.setLocalDescription()
        self._description = with_opus_parameters(connection.localDescription.sdp)
        self._answered_at = self.moments.answered = self._loop.time()
        if not any(candidates(self._description)):
            logger.error("no socket could be opened for a call; are the addresses to listen on those of this machine?")
            raise AtCapacity("no socket can be opened for this call", retry_after_sec=1.0)

    @property
    def description(self) -> str:
        """The answer, with the addresses of this machine in it."""
        return self._description

    # -- while the call lasts ------------------------------------------------------------------------------------------

    async def run(self) -> Ending:
        """Serve the call until it ends, and tell how."""
        try:
            async with asyncio.TaskGroup() as tasks:
                media = [tasks.create_task(self._receiver.run()), tasks.create_task(self._play_to_nobody())]
                await self._until_over()
                for task in media:
                    task.cancel()
        finally:
            await self.close()
        if self._failure is not None:
            raise self._failure
        return self._ending

    @property
    def is_settled(self) -> bool:
        """Whether sound can flow, or never will."""
        return self._settled.is_set()

    def finish(self) -> None:
        """Let `run` end soon."""
        self._finish("closed")

    async def _until_over(self) -> None:
        try:
            async with asyncio.timeout_at(self._answered_at + self._settings.connect_timeout_sec):
                await self._settled.wait()
        except TimeoutError:
            self._finish("never connected")
        while not self._over.is_set():
            await self._watch()

    async def _watch(self) -> None:
        """Wait for the end of the call, or until the caller should have given a sign of life."""
        try:
            async with asyncio.timeout_at(self._look_after_caller()):
                await self._over.wait()
        except TimeoutError:
            return

    def _look_after_caller(self) -> float:
        """Suspect a caller who is quiet, give up one who stays so; returns when to look again."""
        settings = self._settings
        alive_at = self._ice.alive_at or self._answered_at
        if self._transceiver.currentDirection == "inactive":
            alive_at += SLOWEST_CHECKS_SEC  # no sound either way: connectivity checks may be all that comes
        quiet_sec = self._loop.time() - alive_at
        self._suspect_caller(quiet_sec >= settings.suspect_timeout_sec)
        if quiet_sec >= settings.vanish_timeout_sec:
            self._finish("vanished")
        patience_sec = settings.vanish_timeout_sec if self._suspect else settings.suspect_timeout_sec
        return alive_at + min(patience_sec, settings.vanish_timeout_sec)

    def _suspect_caller(self, suspect: bool) -> None:
        if suspect and not self._suspect:
            self._suspected += 1
            logger.info("nothing has come from a caller for %.1f s", self._settings.suspect_timeout_sec)
        self._suspect = suspect

    def _read(self, count: int) -> Samples:
        """The next stretch of the reply, or silence while nobody hears it."""
        if self._over.is_set():
            return np.zeros(count, np.float32)
        match self._pulse.look(self._ice.heard_at, self._ice.sounds, self._loop.time()):
            case "missing" | "returning":
                return np.zeros(count, np.float32)
            case "alive" | "delayed":
                self._listener.acknowledged()
            case "lost":
                self._listener.lost()
            case "waiting":
                pass
        return self._read_reply(count)

    async def _play_to_nobody(self) -> None:
        """For a caller who does not listen: the reply runs at its pace all the same, so that it comes to an end."""
        await self._settled.wait()
        while self._transceiver.currentDirection not in ("sendrecv", "sendonly"):
            await self._track.recv()

    def _hear(self, samples: Samples) -> None:
        self._track.heard()
        if self.moments.first_sound is None:
            self.moments.first_sound = self._loop.time()
        self._tell(lambda: self._listener.heard(samples))

    def _tell(self, notice: Callable[[], None]) -> None:
        if self._over.is_set():
            return
        try:
            notice()
        except Exception as exc:  # noqa: BLE001 (it goes to whoever runs the call; aiortc would swallow it)
            self._failure = exc
            self._finish("closed")

    def _state_changed(self) -> None:
        state = self._connection.connectionState
        if state == "connected" and self.moments.connected is None:
            self.moments.connected = self._loop.time()
            self._settled.set()
        elif state in ("failed", "closed"):
            ending: Ending = "vanished" if state == "failed" else "hung up"
            self._finish("never connected" if self.moments.connected is None else ending)

    def _ice_state_changed(self) -> None:
        if self.moments.reached is None and self._connection.iceConnectionState in ("connected", "completed"):
            self.moments.reached = self._loop.time()
            self.moments.pair_type = self._ice.pair_type

    def _let_go(self, fault: str) -> None:
        """The caller asks for more than is any call's share."""
        logger.warning("a call is ended: its caller sends %s", fault)
        self._finish("closed")

    def _finish(self, ending: Ending) -> None:
        if not self._over.is_set():
            self._ending = ending
            self._over.set()
            self._settled.set()

    def send(self, text: str) -> bool:
        """Send one message; False where the channel is not open, or the caller has stopped taking messages."""
        return self._channel.send(text)

    # -- the end -------------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """End the call and free all it holds: never raises, takes a bounded time, may be called again."""
        self._finish("closed")
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_SEC):
                await self._connection.close()
                await self._receiver.closed()
        except Exception as exc:  # noqa: BLE001 (aiortc raises anything after an offer that it half took)
            logger.warning("a connection could not be closed in the orderly way: %r", exc)
            self._ice.abort()
        self._track.stop()

    def statistics(self) -> PeerStatistics:
        connected = self.moments.connected
        return PeerStatistics(
            connect_sec=None if connected is None else connected - self._answered_at,
            suspected=self._suspected,
            dropped_datagrams=self._ice.dropped,
            refused_messages=self._channel.refused,
            receiver=self._receiver.statistics(),
            playout=self._track.statistics(),
        )
