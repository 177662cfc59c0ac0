"""A caller over WebRTC: speaks recordings in real time, hears the replies, and knows when each sample passed.

::

    async with Caller.connect("http://127.0.0.1:8080") as call:
        await call.say(samples)
        reply = await call.reply()
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aiortc import (
    InvalidStateError,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpCodecCapability,
    RTCRtpSender,
    RTCSessionDescription,
)

from edge_client.caller.dialect import OPENAI, Dialect
from edge_client.caller.measure import Interval
from edge_client.caller.microphone import Microphone
from edge_client.caller.recorder import Arrival
from edge_client.caller.signalling import calls_url, exchange
from edge_client.caller.spoken import Reply, SpokenTurn
from edge_client.network.emulated import emulate
from edge_client.network.profile import NetworkProfile
from edge_client.webrtc.ice import LOOPBACK, Ice
from edge_client.webrtc.playout_track import PlayoutTrack
from edge_client.webrtc.receiver import Receiver, ReceiverStatistics
from routing.errors import BackendUnavailable
from routing.turns import SPEECH_SAMPLE_RATE, AudioChunk, Samples

logger = logging.getLogger(__name__)

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
CONNECT_TIMEOUT_SEC = 10.0
CLOSE_TIMEOUT_SEC = 5.0
POLL_SEC = 0.02  # how often a waiting caller looks around; no measurement depends on it
QUIET_SEC = 0.25  # of silence after the server said that everything was played
LONG_QUIET_SEC = 1.5  # of silence after which the reply is over where the server does not say so
LONGEST_REPLY_SEC = 60.0  # for servers that never fall silent
KEEP_ALIVE_SEC = 1.0
CHANNEL_PATIENCE_SEC = 2.0  # for a data channel that no server of the dialect needs

# Servers transcribe only when they are asked to.
SESSION: Mapping[str, Any] = {
    "type": "realtime",
    "audio": {"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}},
}

type Json = dict[str, Any]
type OnEvent = Callable[[Json], None]


@dataclass(frozen=True, slots=True)
class Sound:
    """A live microphone and loudspeaker: ``read`` gives 24 kHz at the pace of the call, ``play`` takes 16 kHz."""

    read: Callable[[int], Samples]
    play: Callable[[Samples], None] = lambda samples: None


@dataclass(frozen=True, slots=True)
class Network:
    """A bad network for the sound and the events of one call; equal seeds are equally bad."""

    profile: NetworkProfile
    seed: int = 1


class Caller:
    """One call. Made by `connect`; everything runs on one event loop."""

    def __init__(
        self, *, sound: Sound | None, on_event: OnEvent, loopback: bool, dialect: Dialect, network: Network | None
    ) -> None:
        self._microphone = Microphone(time.monotonic)
        self._sound = sound or Sound(read=self._microphone.read)
        self.connect_sec: float | None = None  # from the offer until sound could flow
        self._began_at = time.monotonic()
        self._on_event = on_event
        self._dialect = dialect
        self._network = network
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))  # None would mean a public server
        self._ice = Ice(addresses=None, loopback=loopback)
        self._connection.on("connectionstatechange", self._note_state)
        self._transceiver = self._connection.addTransceiver(PlayoutTrack(self._sound.read), "sendrecv")
        self._transceiver.setCodecPreferences(_opus())
        self._receiver = Receiver(self._transceiver.receiver, self._heard)
        self._channel: RTCDataChannel = self._connection.createDataChannel(dialect.channel)
        self._channel.on("message", self._told)
        self._tasks: list[asyncio.Task[None]] = []
        self._turn: SpokenTurn | None = None
        self._turn_before: SpokenTurn | None = None
        self._stirred_at = time.monotonic()  # when something last came: an event, or audible sound
        self._audible_at = float("-inf")  # when the last audible sound came

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str,
        *,
        key: str | None = None,
        model: str | None = None,
        session: Mapping[str, Any] | None = SESSION,
        sound: Sound | None = None,
        on_event: OnEvent = lambda event: None,
        dialect: Dialect = OPENAI,
        network: Network | None = None,
    ) -> AsyncIterator[Caller]:
        """Call ``url``, and hang up on leaving. ``on_event`` is told everything the server says.

        ``session`` is asked for where the server takes events, and ``sound`` takes the place of the recordings that
        `say` plays. ``network`` lies between the call and the server, but not in the way of the request that opens it.

        Raises:
            BackendUnavailable, AtCapacity, InvalidRequest: there is no call; the message says why.
        """
        where = calls_url(url, model=model, dialect=dialect)
        loopback = urlsplit(where).hostname in LOOPBACK_HOSTS
        caller = cls(sound=sound, on_event=on_event, loopback=loopback, dialect=dialect, network=network)
        try:
            await caller._connect(where, key)
            if session and dialect.has_events:
                caller.send({"type": "session.update", "session": dict(session)})
            yield caller
        finally:
            await caller._hang_up()

    async def _connect(self, url: str, key: str | None) -> None:
        await self._offer()
        answer = await exchange(self._connection.localDescription.sdp, url=url, key=key, dialect=self._dialect)
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
        except Exception as exc:  # a malformed answer comes out of aiortc as any exception there is
            raise BackendUnavailable(f"{url} gave no usable answer: {str(exc) or type(exc).__name__}") from exc
        self._tasks = [asyncio.create_task(work) for work in (self._receiver.run(), self._keep_alive())]
        if not await self._connected():
            raise BackendUnavailable(f"{url} answered, but cannot be reached by UDP")

    async def _connected(self) -> bool:
        """Wait until sound and events can flow; sound alone is enough where the server has no events."""
        if not await self._until(lambda: self.connect_sec is not None, CONNECT_TIMEOUT_SEC):
            return False
        needed = self._dialect.has_events
        patience_sec = CONNECT_TIMEOUT_SEC if needed else CHANNEL_PATIENCE_SEC
        return await self._until(lambda: self._channel.readyState == "open", patience_sec) or not needed

    async def _offer(self) -> None:
        offer = await self._connection.createOffer()
        self._ice.guard(self._connection)  # before the sockets open
        await self._connection.setLocalDescription(offer)
        if self._network:
            emulate(self._ice, self._network.profile, seed=self._network.seed)

    def _note_state(self) -> None:
        if self._connection.connectionState == "connected":
            self.connect_sec = time.monotonic() - self._began_at

    async def _keep_alive(self) -> None:
        while self._dialect.keep_alive:
            if self._channel.readyState == "open":
                self._channel.send(self._dialect.keep_alive)
            await asyncio.sleep(KEEP_ALIVE_SEC)

    @property
    def _is_over(self) -> bool:
        silenced = self._dialect.has_events and self._channel.readyState == "closed"
        return silenced or self._connection.connectionState in ("failed", "closed")

    # -- a turn --------------------------------------------------------------------------------------------------------

    async def say(self, samples: Samples, *, interrupting: bool = False) -> SpokenTurn:
        """Speak a recording (mono, `MICROPHONE_RATE`) and return when its last sample of speech has passed.

        Raises:
            InvalidRequest: there is no speech in it.
            BackendUnavailable: the call has ended.
        """
        spoken: list[Interval] = []
        self._microphone.say(samples, spoken.append)
        turn = self.listen(interrupting=interrupting)
        await self._until(lambda: bool(spoken), None)
        turn.speech = spoken[0]
        return turn

    def listen(self, *, interrupting: bool = False) -> SpokenTurn:
        """Begin a turn: what comes from now on belongs to it."""
        self._turn_before, self._turn = self._turn, SpokenTurn(interrupting=interrupting)
        if self._turn_before:
            self._turn_before.watch.seal()
        return self._turn

    async def reply(self, timeout: float = 20.0) -> Reply:
        """What the last thing said brought: returns when the reply is over, or with what there is after ``timeout``."""
        await self.replied(timeout)
        return self._current.reply()

    async def replied(self, timeout: float | None = None) -> bool:
        """Wait until the reply of this turn is over; False where that took too long."""
        turn = self._current
        return await self._until(lambda: self._is_replied(turn), timeout)

    def _is_replied(self, turn: SpokenTurn) -> bool:
        quiet_sec = time.monotonic() - self._stirred_at
        return turn.watch.finished and quiet_sec >= (QUIET_SEC if turn.watch.played else LONG_QUIET_SEC)

    async def answered(self, *, patience_sec: float, quiet_sec: float) -> Reply:
        """What the last thing said brought, told by the sound alone, whatever events the server sends or does not.

        The reply is over when nothing could be heard for ``quiet_sec``. ``patience_sec`` is how long it may take to
        begin; what was said before the caller had finished is no reply.
        """
        turn = self._current
        assert turn.speech is not None, "the caller still speaks"
        end = turn.speech.end
        if await self._until(lambda: self._audible_at > end, patience_sec):
            await self._quiet(quiet_sec)
        return turn.reply()

    async def _quiet(self, quiet_sec: float) -> None:
        """Wait until nothing was heard for so long, or nothing will be any more."""
        try:
            await self._until(lambda: time.monotonic() - self._audible_at > quiet_sec, LONGEST_REPLY_SEC)
        except BackendUnavailable:
            logger.info("the call ended with the reply")

    async def audible(self, timeout: float = 10.0) -> bool:
        """Wait until something can be heard in answer to the last thing said; False where nothing came in time."""
        turn = self._current
        return await self._until(lambda: turn.recorder.audible, timeout)

    @property
    def _current(self) -> SpokenTurn:
        assert self._turn is not None, "nothing was said"
        return self._turn

    async def _until(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        deadline = None if timeout is None else time.monotonic() + timeout
        while not condition():
            if self._is_over:
                raise BackendUnavailable("the other side has ended the call")
            if deadline is not None and time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL_SEC)
        return True

    # -- what comes ----------------------------------------------------------------------------------------------------

    def _heard(self, samples: Samples) -> None:
        if not len(samples):
            return
        self._sound.play(samples)
        arrival = Arrival(time.monotonic(), AudioChunk(samples, SPEECH_SAMPLE_RATE))
        if arrival.audible:
            self._stirred_at = self._audible_at = arrival.at
        if self._turn:
            self._turn.recorder.write(arrival)

    def _told(self, message: str | bytes) -> None:
        try:
            event = json.loads(message)
        except ValueError:
            logger.warning("the server sent something that is no JSON: %.80r", message)
            return
        self._stirred_at = time.monotonic()
        for turn in (self._turn_before, self._turn):
            if turn:
                turn.watch.feed(event)
        self._on_event(event)

    def statistics(self) -> ReceiverStatistics:
        """How the sound came through so far."""
        return self._receiver.statistics()

    def send(self, event: Json) -> None:
        """Send a client event.

        Raises:
            BackendUnavailable: the call has ended.
        """
        try:
            self._channel.send(json.dumps(event))
        except InvalidStateError as exc:
            raise BackendUnavailable("the other side has ended the call") from exc

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _hang_up(self) -> None:
        for task in self._tasks:
            task.cancel()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_SEC):
                await self._connection.close()
        except Exception:
            logger.exception("the call could not be ended in the orderly way")
            self._ice.abort()


async def warm_up() -> None:
    """Do what the first call of a process does besides, such as loading code: whoever measures one does this before."""
    caller = Caller(sound=None, on_event=lambda event: None, loopback=True, dialect=OPENAI, network=None)
    try:
        await caller._offer()  # noqa: SLF001
        with socket.socket() as refusing:
            refusing.bind((LOOPBACK, 0))
            await exchange("", url=f"http://{LOOPBACK}:{refusing.getsockname()[1]}", key=None)
    except BackendUnavailable:
        pass  # nobody listens
    finally:
        await caller._hang_up()  # noqa: SLF001


def _opus() -> list[RTCRtpCodecCapability]:
    codecs = RTCRtpSender.getCapabilities("audio").codecs
    return [codec for codec in codecs if codec.mimeType.lower() == "audio/opus"]
