"""Somebody who speaks to a router turn by turn, remembers what was said, and knows what the answer must be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np

from routing.telemetry import names
from routing.telemetry.phase import Carrier
from routing.telemetry.spans import Spans
from routing.turns import (
    SPEECH_SAMPLE_RATE,
    AudioChunk,
    Backend,
    Heard,
    HistoryItem,
    Message,
    Placement,
    ReplyEnd,
    TextDelta,
    Turn,
)

CHUNK = AudioChunk(np.full(SPEECH_SAMPLE_RATE // 12, 0.1, np.float32), SPEECH_SAMPLE_RATE)


@dataclass(slots=True)
class Answer:
    """What came of a turn."""

    turn: Turn
    heard: list[str] = field(default_factory=list)
    text: str = ""
    sound_sec: float = 0.0
    placements: list[Placement] = field(default_factory=list)
    end: ReplyEnd | None = None

    @property
    def backends(self) -> list[str]:
        return [placement.backend for placement in self.placements]


@dataclass(slots=True)
class Talker:
    """One session. Where there are ``spans``, each turn is a trace: `Answer.turn` carries its root."""

    backend: Backend
    session_id: str
    spans: Spans | None = None
    instructions: str = ""
    history: list[HistoryItem] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    async def say(
        self,
        *,
        chunks: int = 5,
        chunk_sec: float = 0.01,
        before_the_end: Callable[[], Awaitable[object]] | None = None,
        while_answered: Callable[[Answer], None] | None = None,
    ) -> Answer:
        """Speak a turn and hear the answer to its end, as fast as it comes.

        ``before_the_end`` is awaited when all was said, and the turn is not over yet.

        Raises:
            BackendError: nobody could answer.
        """
        clock = asyncio.get_running_loop().time
        root = self.spans.begin(names.TURN, at=clock()) if self.spans else None
        answer = Answer(self._turn(root.carrier if root else {}))
        try:
            await self._converse(answer, chunks, chunk_sec, before_the_end, while_answered)
        finally:
            if root:
                root.end(at=clock())
        self.history += [Message("user", " ".join(answer.heard)), Message("assistant", answer.text)]
        self.answers.append(answer)
        return answer

    def _turn(self, trace_context: Carrier) -> Turn:
        index = len(self.answers)
        return Turn(
            session_id=self.session_id,
            turn_id=f"{self.session_id}_{index}",
            index=index,
            history=tuple(self.history),
            instructions=self.instructions,
            trace_context=trace_context,
        )

    async def _converse(
        self,
        answer: Answer,
        chunks: int,
        chunk_sec: float,
        before_the_end: Callable[[], Awaitable[object]] | None,
        while_answered: Callable[[Answer], None] | None,
    ) -> None:
        async with self.backend.open(answer.turn, on_heard=lambda _: None) as exchange:
            for _ in range(chunks):
                exchange.feed(CHUNK)
                await asyncio.sleep(chunk_sec)
            if before_the_end:
                await before_the_end()
            events = exchange.reply()
            exchange.commit()
            async for event in events:
                self._take(answer, event)
                if while_answered:
                    while_answered(answer)

    def _take(self, answer: Answer, event: object) -> None:
        match event:
            case Heard(text):
                answer.heard.append(text)
            case TextDelta(text):
                answer.text += text
            case AudioChunk() as chunk:
                answer.sound_sec += chunk.duration_sec
            case Placement() as placement:
                answer.placements.append(placement)
            case ReplyEnd() as end:
                answer.end = end
