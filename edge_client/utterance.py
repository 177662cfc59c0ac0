"""A turn while it is alive: audio on its way to a backend, and replies that are begun, rolled back and released."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import numpy as np

from routing.errors import BackendError
from routing.turns import (
    SPEECH_SAMPLE_RATE,
    AudioChunk,
    Backend,
    Exchange,
    Heard,
    ReplyEnd,
    ReplyEvent,
    Samples,
    Turn,
)

logger = logging.getLogger(__name__)

type Held = asyncio.Queue[ReplyEvent | BackendError]

HELD_EVENTS = 64  # read ahead of the speaker; a backend makes fewer than this before it is committed


class Utterance:
    """One `Exchange`, and the replies asked of it, of which at most one is released.

    ``on_heard`` gets partial and final transcripts as soon as they are known. ``speak`` is called once, when a
    reply has been released, with every other event of that reply; held ones come at once.
    """

    def __init__(
        self,
        turn: Turn,
        *,
        backend: Backend,
        chunk_samples: int,
        on_heard: Callable[[Heard], None],
        speak: Callable[[AsyncGenerator[ReplyEvent]], Awaitable[None]],
    ) -> None:
        self.turn = turn
        self.heard: Heard | None = None  # the final words of the open reply
        self._backend = backend
        self._chunk_samples = chunk_samples
        self._on_heard = on_heard
        self._speak = speak
        self._frames: list[Samples] = []
        self._samples = 0
        self._unsent: Samples = np.zeros(0, np.float32)
        self._exchange: Exchange | None = None
        self._attempt: asyncio.Task[None] | None = None
        self._speaking: asyncio.Task[None] | None = None
        self._held = _events_held()  # of the attempt that is being made
        self._asked = asyncio.Event()
        self._released = asyncio.Event()
        self._hushed = False

    # -- while the user speaks ---------------------------------------------------------------------------------------

    def feed(self, frame: Samples) -> None:
        """Take the next samples (16 kHz); they go on in chunks."""
        self._frames.append(frame)
        self._samples += len(frame)
        self._unsent = np.concatenate([self._unsent, frame])
        self._send(len(self._unsent) // self._chunk_samples * self._chunk_samples)

    def _send(self, count: int) -> None:
        if not self._exchange:
            return  # the exchange is being opened; `run` sends what waits
        for start in range(0, count, self._chunk_samples):
            chunk = self._unsent[start : min(start + self._chunk_samples, count)]
            self._exchange.feed(AudioChunk(chunk, SPEECH_SAMPLE_RATE))
        self._unsent = self._unsent[count:]

    @property
    def audio(self) -> Samples:
        """Everything fed so far, mono 16 kHz."""
        return np.concatenate(self._frames) if self._frames else np.zeros(0, np.float32)

    @property
    def duration_sec(self) -> float:
        return self._samples / SPEECH_SAMPLE_RATE

    # -- the reply ---------------------------------------------------------------------------------------------------

    @property
    def was_asked(self) -> bool:
        """Whether the backend was ever asked for a reply."""
        return self._attempt is not None

    def begin(self) -> None:
        """Ask for a reply to what was fed so far. It is held until `release`."""
        self._send(len(self._unsent))
        self._asked.set()

    def roll_back(self) -> None:
        """The user went on: forget the reply that was begun."""
        self._asked.clear()
        self.heard = None
        if self._attempt:
            self._attempt.cancel()

    def release(self) -> None:
        """The turn is over: let the reply be spoken."""
        self.begin()
        self._released.set()
        if self._exchange:
            self._exchange.commit()

    def hush(self) -> None:
        """Speak no further. The backend goes on, for the user's words may still be missing; cancelling ends that."""
        self._hushed = True
        self._released.set()
        if self._speaking:
            self._speaking.cancel()
        while not self._held.empty():
            self._held.get_nowait()  # nobody reads it any more, and the user's words may be behind it

    # -- the work ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the turn to its end. Cancelling is the way to drop it.

        Raises:
            BackendError: the backend refused the turn. Faults of a reply reach ``speak`` through its events.
        """
        async with self._backend.open(self.turn, on_heard=self._note) as exchange:
            self._exchange = exchange
            self._send(len(self._unsent))
            if self._released.is_set():
                exchange.commit()
            await self._answer_when_asked(exchange)

    async def _answer_when_asked(self, exchange: Exchange) -> None:
        async with asyncio.TaskGroup() as attempts:
            while not self._attempt or self._attempt.cancelled():
                await self._asked.wait()
                self._attempt = attempts.create_task(self._answer(exchange))
                await asyncio.wait([self._attempt])

    async def _answer(self, exchange: Exchange) -> None:
        held = self._held = _events_held()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read(exchange, held))
            await self._released.wait()
            if not self._hushed:
                self._speaking = tasks.create_task(self._tell(held))

    async def _tell(self, held: Held) -> None:
        async with aclosing(_until_end(held)) as events:
            await self._speak(events)

    async def _read(self, exchange: Exchange, held: Held) -> None:
        try:
            async with aclosing(exchange.reply()) as events:
                async for event in events:
                    if isinstance(event, Heard):
                        self._note(event)
                    elif not self._hushed:
                        await held.put(event)
            await held.put(BackendError("the reply has no end"))  # read by nobody if it has
        except BackendError as error:
            await held.put(error)  # raised where the reply is spoken; a speculation that failed costs nothing
        except Exception:
            logger.exception("backend %s broke its promise", self._backend.name)
            await held.put(BackendError("internal error"))

    def _note(self, heard: Heard) -> None:
        if heard.is_final:
            self.heard = heard
        self._on_heard(heard)


def _events_held() -> Held:
    return asyncio.Queue(HELD_EVENTS)


async def _until_end(held: Held) -> AsyncGenerator[ReplyEvent]:
    while True:
        event = await held.get()
        if isinstance(event, BackendError):
            raise event
        yield event
        if isinstance(event, ReplyEnd):
            return
