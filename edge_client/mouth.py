"""How a session speaks: the interface to whatever carries the reply to the caller, and the mouth for paced senders."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from edge_client.playout import Playout, PlayoutStatistics
from routing.turns import REPLY_SAMPLE_RATE, Samples


class Mouth(Protocol):
    """Speaks one reply at a time. ``samples`` are mono 24 kHz; only the coroutines wait."""

    def begin(self, on_first_audio: Callable[[], None]) -> None:
        """A new reply starts; ``on_first_audio`` is called once, when its first sample leaves."""

    def say(self, samples: Samples) -> None:
        """Queue more of the reply."""

    async def room(self) -> None:
        """Return when more may be queued."""

    def finish(self) -> None:
        """The reply is complete; what is queued is still spoken."""

    async def silent(self) -> None:
        """Return when everything queued was heard or cut."""

    def pause(self) -> None:
        """Fall silent at once, and keep what is queued."""

    def resume(self) -> None:
        """Go on after `pause`."""

    def flush(self) -> None:
        """Cut the reply at once."""

    @property
    def heard(self) -> int:
        """Samples of the current reply that the caller was sent, or is believed to have heard."""

    @property
    def starved(self) -> int:
        """Samples of silence that were sent in the middle of the current reply, as far as can be known here."""


class PacedMouth:
    """A mouth for senders that pull: a WebRTC track or a loudspeaker calls `read` at the pace of real time.

    ``remember_sec``, `acknowledge` and `take_back` are those of the `Playout`.
    """

    def __init__(self, *, capacity_sec: float = 30.0, remember_sec: float = 0.0) -> None:
        self._playout = Playout(capacity_sec=capacity_sec, remember_sec=remember_sec)
        self._moved = asyncio.Event()
        self._on_first_audio: Callable[[], None] | None = None

    def read(self, count: int) -> Samples:
        """The next ``count`` samples for the sender, silence included. Called on the event loop."""
        samples = self._playout.read(count)
        if self._on_first_audio and self._playout.heard:
            announce, self._on_first_audio = self._on_first_audio, None
            announce()
        self._moved.set()
        return samples

    def acknowledge(self) -> None:
        """What was read so far was heard."""
        self._playout.acknowledge()

    def take_back(self) -> None:
        """What was read since the last `acknowledge` was lost on the way: it is spoken again."""
        self._playout.take_back()

    def begin(self, on_first_audio: Callable[[], None]) -> None:
        self._playout.begin()
        self._on_first_audio = on_first_audio

    def say(self, samples: Samples) -> None:
        self._playout.write(samples)

    async def room(self) -> None:
        while not self._playout.room:
            await self._movement()

    def finish(self) -> None:
        self._playout.finish()

    async def silent(self) -> None:
        while not self._playout.silent:
            await self._movement()

    async def _movement(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    def pause(self) -> None:
        self._playout.pause()

    def resume(self) -> None:
        self._playout.resume()

    def flush(self) -> None:
        self._playout.flush()
        self._on_first_audio = None
        self._moved.set()

    @property
    def heard(self) -> int:
        return self._playout.heard

    @property
    def starved(self) -> int:
        return self._playout.statistics().underrun

    def statistics(self) -> PlayoutStatistics:
        return self._playout.statistics()


class RemoteMouth:
    """A mouth for callers that play by themselves (WebSocket): they get the audio as events, and hearing is estimated.

    The caller is believed to play without a pause from the moment the first sample was sent. ``room`` waits while
    too much is on its way to them.
    """

    def __init__(self, room: Callable[[], Awaitable[None]]) -> None:
        self._room = room
        self._sent = 0
        self._began_at: float | None = None
        self._cut = asyncio.Event()
        self._on_first_audio: Callable[[], None] | None = None

    def begin(self, on_first_audio: Callable[[], None]) -> None:
        self._sent = 0
        self._began_at = None
        self._cut.clear()
        self._on_first_audio = on_first_audio

    def say(self, samples: Samples) -> None:
        self._sent += len(samples)
        if self._began_at is None:
            self._began_at = asyncio.get_running_loop().time()
            if self._on_first_audio:
                self._on_first_audio()

    async def room(self) -> None:
        await self._room()

    def finish(self) -> None:
        """Nothing to mark: the caller is told by the end of the reply."""

    async def silent(self) -> None:
        remaining = self._sent - self.heard
        try:
            async with asyncio.timeout(remaining / REPLY_SAMPLE_RATE):
                await self._cut.wait()
        except TimeoutError:
            return

    def pause(self) -> None:
        """The caller owns the loudspeaker: only a real interruption reaches it, as an event."""

    def resume(self) -> None:
        """See `pause`."""

    def flush(self) -> None:
        self._sent = self.heard
        self._cut.set()

    @property
    def heard(self) -> int:
        if self._began_at is None:
            return 0
        elapsed = asyncio.get_running_loop().time() - self._began_at
        return min(self._sent, int(elapsed * REPLY_SAMPLE_RATE))

    @property
    def starved(self) -> int:
        return 0  # the caller plays by themselves
