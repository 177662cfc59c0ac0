"""The engine as a backend: what the user says is gathered, and each pause may ask for a reply that is held."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from zlib import crc32

import numpy as np

from deployments.engine.answer import Answer, Question
from deployments.engine.engine import Engine
from routing.errors import InvalidRequest
from routing.turns import SPEECH_SAMPLE_RATE, AudioChunk, Exchange, Heard, ReplyEnd, ReplyEvent, Samples, Turn


class EngineBackend:
    """Answers turns with one engine. Nobody's words are told while they speak: the model does not write them down."""

    def __init__(self, engine: Engine, *, name: str = "lfm2-audio") -> None:
        self.name = name
        self._engine = engine

    @asynccontextmanager
    async def open(self, turn: Turn, *, on_heard: Callable[[Heard], None]) -> AsyncIterator[Exchange]:  # noqa: ARG002
        exchange = EngineExchange(self._engine, turn)
        try:
            yield exchange
        finally:
            exchange.close()


class EngineExchange:
    """One turn. The model hears a turn as a whole, so a reply that came too early is asked for anew."""

    def __init__(self, engine: Engine, turn: Turn) -> None:
        self._engine = engine
        self._turn = turn
        self._chunks: list[Samples] = []
        self._answer: Answer | None = None
        self._committed = False

    def feed(self, chunk: AudioChunk) -> None:
        """Take the next 16 kHz chunk. Raises InvalidRequest at any other rate."""
        if chunk.sample_rate != SPEECH_SAMPLE_RATE:
            raise InvalidRequest(
                f"expected speech at {SPEECH_SAMPLE_RATE} Hz, came at {chunk.sample_rate} Hz", param="sample_rate"
            )
        self._chunks.append(chunk.samples)

    async def reply(self) -> AsyncGenerator[ReplyEvent]:
        """Answer what was fed so far.

        Raises:
            AtCapacity: the engine is full, and says when to come back.
            InvalidRequest: there is nothing to answer, or what was fed is no speech.
            BackendError: the reply failed.
        """
        self.close()
        answer = self._answer = self._engine.ask(self._question())
        if self._committed:
            answer.release()
        was_told = False
        try:
            async for event in answer.events():
                was_told = isinstance(event, ReplyEnd)
                yield event
        finally:
            if not was_told:
                answer.close()

    def commit(self) -> None:
        """The turn is over: the open reply is the one that counts."""
        self._committed = True
        if self._answer is not None:
            self._answer.release()

    def close(self) -> None:
        """Leave nothing behind that was not committed."""
        if self._answer is not None and not self._answer.sequence.released:
            self._answer.close()

    def _question(self) -> Question:
        if not self._chunks and not self._turn.history and self._turn.script is None:
            raise InvalidRequest("expected speech, a history that ends with a question, or a script; came none of them")
        speech = np.concatenate(self._chunks) if self._chunks else None
        return Question(turn=self._turn, speech=speech, seed=crc32(self._turn.turn_id.encode()))
