"""A caller in the test's own process: a real aiortc peer with a microphone, an ear and the data channel for events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from edge_client.audio import resample
from edge_client.webrtc.ice import LOOPBACK, Ice
from edge_client.webrtc.playout_track import PlayoutTrack
from edge_client.webrtc.receiver import Receiver
from routing.turns import REPLY_SAMPLE_RATE, Samples

WAIT_SEC = 30.0  # how long a caller waits for anything before the test fails
ALONE = RTCConfiguration(iceServers=[])  # without the help of any server
LOUD = 0.02  # above what a codec makes of silence
MOST_TRIALS = 12


class Block(NamedTuple):
    """A stretch of sound and the loop's time when it was taken from the microphone, or came out of the decoder."""

    at: float
    samples: Samples

    @property
    def loud(self) -> bool:
        return bool(len(self.samples)) and float(np.abs(self.samples).max()) > LOUD


class Message(NamedTuple):
    at: float
    text: str


class Trial[T](NamedTuple):
    outcome: T
    stalls: int  # of whoever spoke


async def unbroken[T](attempt: Callable[[], Awaitable[Trial[T]]]) -> T:
    """What came of an attempt in which the machine did not stand still: otherwise there is a gap in what was said."""
    trial = await attempt()
    for _ in range(MOST_TRIALS):
        if not trial.stalls:
            break
        trial = await attempt()
    return trial.outcome


class Microphone:
    """Says what is put into it, in real time, with silence in between."""

    def __init__(self) -> None:
        self._waiting = np.zeros(0, np.float32)
        self.blocks: list[Block] = []  # everything said so far, silence too, at 24 kHz

    def say(self, samples: Samples, sample_rate: int = REPLY_SAMPLE_RATE) -> None:
        self._waiting = np.concatenate((self._waiting, resample(samples, sample_rate, REPLY_SAMPLE_RATE)))

    def read(self, count: int) -> Samples:
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        block = np.pad(taken, (0, count - len(taken)))
        self.blocks.append(Block(asyncio.get_running_loop().time(), block))
        return block

    @property
    def silent(self) -> bool:
        """Whether everything was said."""
        return not len(self._waiting)


class Caller:
    """Use it as an async context manager; leaving it hangs up.

    ::

        async with Caller() as caller:
            peer = await Peer.answer(await caller.offer(), ...)
            await caller.accept(peer.description)
            await caller.opened()
            caller.microphone.say(question)
    """

    def __init__(
        self,
        *,
        channel: str | None = "oai-events",
        direction: str = "sendrecv",
        configuration: RTCConfiguration = ALONE,
    ) -> None:
        self.connection = RTCPeerConnection(configuration)
        self.microphone = Microphone()
        self.heard: list[Block] = []  # at 16 kHz, silence too
        self.messages: list[Message] = []
        self.channel: RTCDataChannel | None = None
        self.ice = Ice(addresses=(LOOPBACK,), loopback=False)
        self._read_messages = 0
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.connection.on("connectionstatechange", self.changed)
        self._add_sound(direction)
        if channel is not None:
            self._add_channel(channel)

    def _add_sound(self, direction: str) -> None:
        self._track = PlayoutTrack(self.microphone.read)
        transceiver = self.connection.addTransceiver(self._track, direction=direction)
        self._receiver = Receiver(transceiver.receiver, self._hear)
        self.connection.on("track", self._listen)

    def _add_channel(self, label: str) -> None:
        self.channel = self.connection.createDataChannel(label)
        self.channel.on("open", self.changed)
        self.channel.on("message", self._receive)

    @property
    def stalls(self) -> int:
        """How often the machine stood still for so long that there is a gap in what the microphone said."""
        return self._track.statistics().stalls

    # -- the call ------------------------------------------------------------------------------------------------------

    async def offer(self) -> str:
        await self.connection.createOffer()
        self.ice.guard(self.connection)
        await self.connection.setLocalDescription()
        return self.connection.localDescription.sdp

    async def accept(self, answer: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))

    async def connected(self) -> None:
        await self.until(lambda: self.connection.connectionState == "connected")

    async def opened(self) -> None:
        await self.until(lambda: self.channel is not None and self.channel.readyState == "open")

    async def until(self, condition: Callable[[], bool], timeout_sec: float = WAIT_SEC) -> None:
        """Wait for something that comes with a message, a sound or a change of state."""
        async with asyncio.timeout(timeout_sec):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def changed(self) -> None:
        """Look at the conditions again."""
        self._news.set()

    async def hang_up(self) -> None:
        await self.connection.close()
        await self._receiver.closed()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def vanish(self) -> None:
        """Send and hear nothing from now on, like a telephone in a tunnel."""
        for transport in self.connection._RTCPeerConnection__iceTransports:  # type: ignore[attr-defined]
            for protocol in transport._connection._protocols:
                protocol.datagram_received = protocol.send_stun = lambda *_: None
                protocol.send_data = _drop

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.hang_up()

    # -- events --------------------------------------------------------------------------------------------------------

    def send(self, event: dict[str, Any]) -> None:
        assert self.channel is not None
        self.channel.send(json.dumps(event))

    async def event(self, kind: str, timeout_sec: float = WAIT_SEC) -> dict[str, Any]:
        """The next event of this type. Those before it are passed over; `messages` has them all."""
        while True:
            await self.until(lambda: len(self.messages) > self._read_messages, timeout_sec)
            event: dict[str, Any] = json.loads(self.messages[self._read_messages].text)
            self._read_messages += 1
            if event["type"] == kind:
                return event

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(message.text) for message in self.messages]

    def _receive(self, message: str | bytes) -> None:
        assert isinstance(message, str)
        self.messages.append(Message(asyncio.get_running_loop().time(), message))
        self.changed()

    # -- sound ---------------------------------------------------------------------------------------------------------

    async def sound(self, *, after: float = 0.0, timeout_sec: float = WAIT_SEC) -> Block:
        """The first loud block that arrives later than ``after``."""
        await self.until(lambda: any(block.loud for block in self._since(after)), timeout_sec)
        return next(block for block in self._since(after) if block.loud)

    @property
    def heard_samples(self) -> Samples:
        """Everything heard so far, at 16 kHz."""
        return np.concatenate([np.zeros(0, np.float32), *(block.samples for block in self.heard)])

    def _since(self, after: float) -> list[Block]:
        return [block for block in self.heard if block.at > after]

    def _listen(self, track: MediaStreamTrack) -> None:
        self._tasks.append(asyncio.create_task(self._receiver.run()))

    def _hear(self, samples: Samples) -> None:
        self.heard.append(Block(asyncio.get_running_loop().time(), samples))
        self.changed()


async def _drop(*_: object) -> None:
    pass


def chirp(seconds: float, sample_rate: int, *, low: float = 300.0, high: float = 3000.0) -> Samples:
    """A sweep that is found again by correlation, to the sample."""
    times = np.arange(int(seconds * sample_rate)) / sample_rate
    phase = 2 * np.pi * (low * times + (high - low) * times**2 / (2 * seconds))
    return (0.5 * np.sin(phase)).astype(np.float32)


class Match(NamedTuple):
    start: int  # the sample of the recording at which the sound begins
    likeness: float  # 1.0 for a perfect copy


def find(sound: Samples, recording: Samples) -> Match:
    """Where ``sound`` is in ``recording``; both at one sample rate."""
    size = len(recording) + len(sound)
    spectrum = np.fft.rfft(recording, size) * np.conj(np.fft.rfft(sound, size))
    start = int(np.argmax(np.fft.irfft(spectrum, size)[: len(recording)]))
    part = recording[start : start + len(sound)]
    norm = float(np.linalg.norm(part) * np.linalg.norm(sound)) or 1.0
    return Match(start, float(np.dot(part, sound[: len(part)])) / norm)
