"""Stand-ins for the lowest layer, scripted by scenario: ears without a model, and a backend that follows a script."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

from routing.turns import (
    REPLY_SAMPLE_RATE,
    AudioChunk,
    Exchange,
    Heard,
    ReplyEnd,
    ReplyEvent,
    Samples,
    TextDelta,
    Turn,
)

# -- models at the bottom, scripted ----------------------------------------------------------------------------------


class LoudnessDetector:
    """Calls every frame speech that is louder than a whisper."""

    def probability(self, frame: Samples) -> float:
        return 1.0 if float(np.sqrt(np.mean(frame**2))) > 0.02 else 0.0


@dataclass(slots=True)
class ScriptedJudge:
    """Finds every turn as complete as it was told to."""

    verdict: float = 1.0

    async def completeness(self, samples: Samples) -> float:
        return self.verdict


# -- a backend that follows a script ---------------------------------------------------------------------------------

type Script = Callable[[Turn, Samples], AsyncGenerator[ReplyEvent]]


def tone(seconds: float, *, frequency: float = 440.0) -> Samples:
    """A steady sound at 24 kHz, loud enough to be noticed."""
    time = np.arange(int(seconds * REPLY_SAMPLE_RATE)) / REPLY_SAMPLE_RATE
    return (0.3 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def say(words: str, *, seconds: float = 1.0, heard: str = "hello there", end_of_sentence: float = 1.0) -> Script:
    """Understand ``heard``, answer ``words`` with a tone of ``seconds``."""

    async def script(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        if len(audio):
            yield Heard(heard, is_final=True, end_of_sentence=end_of_sentence)
        yield TextDelta(words)
        if turn.modality == "audio":
            for start in np.arange(0, seconds, 0.2):
                yield AudioChunk(tone(min(0.2, seconds - start)), REPLY_SAMPLE_RATE)
        yield ReplyEnd({"script": 0.0})

    return script


class ScriptedBackend:
    """Answers the n-th turn by the n-th script, and the last one for ever; remembers what it was asked."""

    name = "scripted"

    def __init__(self, *scripts: Script, partials: Sequence[str] = ()) -> None:
        self._scripts = scripts or (say("hello"),)
        self._partials = partials
        self.turns: list[Turn] = []
        self.exchanges: list[ScriptedExchange] = []

    @asynccontextmanager
    async def open(self, turn: Turn, *, on_heard: Callable[[Heard], None]) -> AsyncIterator[Exchange]:
        self.turns.append(turn)
        script = self._scripts[min(turn.index, len(self._scripts) - 1)]
        exchange = ScriptedExchange(turn, script, on_heard, list(self._partials))
        self.exchanges.append(exchange)
        try:
            yield exchange
        finally:
            exchange.closed = True


@dataclass(slots=True)
class ScriptedExchange:
    turn: Turn
    script: Script
    on_heard: Callable[[Heard], None]
    partials: list[str]  # one is understood with every tenth chunk
    chunks: list[AudioChunk] = field(default_factory=list)
    begun: int = 0  # replies asked for
    rolled_back: int = 0
    committed: bool = False
    closed: bool = False

    def feed(self, chunk: AudioChunk) -> None:
        self.chunks.append(chunk)
        if self.partials and len(self.chunks) % 10 == 0:
            self.on_heard(Heard(self.partials.pop(0), is_final=False))

    @property
    def audio(self) -> Samples:
        return np.concatenate([np.zeros(0, np.float32), *(chunk.samples for chunk in self.chunks)])

    async def reply(self) -> AsyncGenerator[ReplyEvent]:
        self.begun += 1
        finished = False
        try:
            async for event in self.script(self.turn, self.audio):
                finished = isinstance(event, ReplyEnd)
                yield event
        finally:
            self.rolled_back += not finished

    def commit(self) -> None:
        self.committed = True
