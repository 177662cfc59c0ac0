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
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpCodecCapability,
    RTCRtpSender,
    RTCSessionDescription,
)

from edge_client.caller.measure import Interval
from edge_client.caller.microphone import Microphone
from edge_client.caller.recorder import Arrival
from edge_client.caller.signalling import calls_url, exchange
from edge_client.caller.spoken import Reply, SpokenTurn
from edge_client.webrtc.channel import EVENTS_CHANNEL
from edge_client.webrtc.ice import Ice
from edge_client.webrtc.playout_track import PlayoutTrack
from edge_client.webrtc.receiver import Receiver
from routing.errors import BackendUnavailable
from routing.turns import SPEECH_SAMPLE_RATE, AudioChunk, Samples

logger = logging.getLogger(__name__)

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
CONNECT_TIMEOUT_SEC = 10.0
CLOSE_TIMEOUT_SEC = 5.0
POLL_SEC = 0.02  # how often a waiting caller looks around; no measurement depends on it
QUIET_SEC = 0.25  # of silence after the server said that everything was played
LONG_QUIET_SEC = 1.5  # of silence after which the reply is over where the server does not say so

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


class Caller:
    """One call. Made by `connect`; everything runs on one event loop."""

    def __init__(self, *, sound: Sound | None, on_event: OnEvent, loopback: bool) -> None:
        self._microphone = Microphone(time.monotonic)
        self._sound = sound or Sound(read=self._microphone.read)
        self.connect_sec: float | None = None  # from the offer until events and sound could flow
        self._began_at = time.monotonic()
        self._on_event = on_event
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))  # None would mean a public server
        self._ice = Ice(addresses=None, loopback=loopback)
        self._transceiver = self._connection.addTransceiver(PlayoutTrack(self._sound.read), "sendrecv")
        self._transceiver.setCodecPreferences(_opus())
        self._receiver = Receiver(self._transceiver.receiver, self._heard)
        self._channel: RTCDataChannel = self._connection.createDataChannel(EVENTS_CHANNEL)
        self._channel.on("message", self._told)
        self._channel.on("open", self._opened)
        self._listening: asyncio.Task[None] | None = None
        self._turn: SpokenTurn | None = None
        self._turn_before: SpokenTurn | None = None
        self._stirred_at = time.monotonic()  # when something last came: an event, or audible sound

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str,
        *,
        key: str | None = None,
        model: str | None = None,
        session: Mapping[str, Any] = SESSION,
        sound: Sound | None = None,
        on_event: OnEvent = lambda event: None,
    ) -> AsyncIterator[Caller]:
        """Call ``url``, and hang up on leaving. ``on_event`` is told everything the server says.

        ``sound`` takes the place of the recordings that `say` plays.

        Raises:
            BackendUnavailable, AtCapacity, InvalidRequest: there is no call; the message says why.
        """
        where = calls_url(url, model=model)
        caller = cls(sound=sound, on_event=on_event, loopback=urlsplit(where).hostname in LOOPBACK_HOSTS)
        try:
            await caller._connect(where, key)
            caller.send({"type": "session.update", "session": dict(session)})
            yield caller
        finally:
            await caller._hang_up()

    async def _connect(self, url: str, key: str | None) -> None:
        await self._offer()
        answer = await exchange(self._connection.localDescription.sdp, url=url, key=key)
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
        except Exception as exc:  # a malformed answer comes out of aiortc as any exception there is
            raise BackendUnavailable(f"{url} gave no usable answer: {str(exc) or type(exc).__name__}") from exc
        self._listening = asyncio.create_task(self._receiver.run())
        if not await self._until(lambda: self.connect_sec is not None, CONNECT_TIMEOUT_SEC):
            raise BackendUnavailable(f"{url} answered, but cannot be reached by UDP")

    async def _offer(self) -> None:
        offer = await self._connection.createOffer()
        self._ice.guard(self._connection)  # before the sockets open
        await self._connection.setLocalDescription(offer)

    def _opened(self) -> None:
        self.connect_sec = time.monotonic() - self._began_at

    @property
    def _is_over(self) -> bool:
        return self._connection.connectionState in ("failed", "closed") or self._channel.readyState == "closed"

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
            self._stirred_at = arrival.at
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

    def send(self, event: Json) -> None:
        """Send a client event."""
        self._channel.send(json.dumps(event))

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _hang_up(self) -> None:
        if self._listening:
            self._listening.cancel()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_SEC):
                await self._connection.close()
        except Exception:
            logger.exception("the call could not be ended in the orderly way")
            self._ice.abort()


def _opus() -> list[RTCRtpCodecCapability]:
    codecs = RTCRtpSender.getCapabilities("audio").codecs
    return [codec for codec in codecs if codec.mimeType.lower() == "audio/opus"]
