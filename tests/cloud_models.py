"""Models for replicas, scripted by their settings: weights are all that is not real about them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deployments.attendance import Attendance, AttendedBackend
from deployments.batch import Batch
from routing.load import Load
from routing.turns import REPLY_SAMPLE_RATE, AudioChunk, Exchange, Heard, ReplyEnd, ReplyEvent, Samples, TextDelta, Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """How the model behaves.

    Args:
        first_sec: from the question to the first item
        items: pieces of sound in a reply
        item_sec: from each item to the next; each holds as much sound
        slots: replies at once
    """

    first_sec: float = 0.0
    items: int = 10
    item_sec: float = 0.02
    slots: int = 64


class ScriptedModel:
    """Says how often it has answered this session, and how many words of its history it was given.

    Each answer is a batch of its own.
    """

    def __init__(self, script: Script) -> None:
        self._attendance = Attendance(script.slots)
        self._metronome = MetronomeBackend(script)
        self.backend = AttendedBackend(self._metronome, self._attendance)

    def check_health(self) -> None:
        """It cannot be stuck."""

    def batch_sizes(self) -> Mapping[int, int]:
        return {1: self._metronome.begun}

    def step_times_ms(self) -> Mapping[int, int]:
        return {round(1000 * self._metronome.script.item_sec): self._metronome.begun}

    def watch(self, on_batch: Callable[[Batch], None]) -> None:
        self._metronome.on_batch = on_batch

    def load(self) -> Load:
        now = asyncio.get_running_loop().time()
        slots = self._attendance.slots or 0
        return Load(
            slots=slots, in_use=self._attendance.in_use, first_audio_p95_sec=self._attendance.first_audio_p95_sec(now)
        )


@asynccontextmanager
async def open_scripted(settings: Mapping[str, Any]) -> AsyncIterator[ScriptedModel]:
    yield ScriptedModel(Script(**settings))


@dataclass(slots=True)
class MetronomeBackend:
    """Answers in even steps, clause by clause. The sound of each item tells when it left, on the monotonic clock."""

    script: Script
    name: str = "metronome"
    sessions: dict[str, int] = field(default_factory=dict)  # turns answered so far: what a replica remembers
    cancelled_at: float = 0.0  # the last reply that was not told to its end
    begun: int = 0
    on_batch: Callable[[Batch], None] = lambda _: None

    @asynccontextmanager
    async def open(self, turn: Turn, *, on_heard: Callable[[Heard], None]) -> AsyncIterator[Exchange]:
        yield MetronomeExchange(self, turn)


@dataclass(slots=True)
class MetronomeExchange:
    backend: MetronomeBackend
    turn: Turn
    samples: int = 0
    committed: bool = False

    def feed(self, chunk: AudioChunk) -> None:
        self.samples += len(chunk.samples)

    def commit(self) -> None:
        self.committed = True

    async def reply(self) -> AsyncGenerator[ReplyEvent]:
        is_told = False
        try:
            async for event in self._reply():
                yield event
            is_told = True
        finally:
            if not is_told:
                self.backend.cancelled_at = time.monotonic()

    async def _reply(self) -> AsyncGenerator[ReplyEvent]:
        if self.turn.script == WHEN_CANCELLED:
            yield TextDelta(str(self.backend.cancelled_at))
            yield ReplyEnd()
            return
        script, session_id = self.backend.script, self.turn.session_id
        known = self.backend.sessions.get(session_id, 0)
        samples = self.samples  # what is fed from now on belongs to another attempt
        asked = time.monotonic()
        if samples:
            yield Heard(words_of(samples), is_final=True)
        await asyncio.sleep(script.first_sec)
        begun = time.monotonic()
        self.backend.begun += 1
        self.backend.on_batch(Batch(began=asked, ended=begun, size=1, admitted=(self.turn.turn_id,)))
        said = [self.turn.script] if self.turn.script is not None else answer_to(self.turn, samples)
        due = time.monotonic()
        for clause in said:
            yield TextDelta(clause)
            for _ in range(max(1, script.items // CLAUSES)):
                yield AudioChunk(stamped(script.item_sec), REPLY_SAMPLE_RATE)
                due += script.item_sec
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        self.backend.sessions[session_id] = known + 1
        now = time.monotonic()
        yield ReplyEnd({"queue": 1000 * (begun - asked), "rest": 1000 * (now - begun)}, known, script.items)


CLAUSES = 5
WHEN_CANCELLED = "When was the last reply cancelled?"  # is answered, on the machine's monotonic clock


def words_of(samples: int) -> str:
    """What the model understands."""
    return f"{samples} samples"


def answer_to(turn: Turn, samples: int) -> list[str]:
    """What it says: the number of the turn, what it has heard, and how much history it was given."""
    facts = f"Answer {turn.index} to {words_of(samples)} after {len(turn.history)} messages."
    return [f"{facts} ", *(f"This is part {part}. " for part in range(2, CLAUSES + 1))]


STAMP_DIGITS = 4  # of 15 bits each
DIGIT = 2**15


def stamped(seconds: float) -> Samples:
    """Sound whose first samples are the microseconds of the machine's monotonic clock."""
    now = time.monotonic_ns() // 1000
    sound = np.zeros(round(seconds * REPLY_SAMPLE_RATE), np.float32)
    for digit in range(STAMP_DIGITS):
        now, sound[digit] = now // DIGIT, (now % DIGIT) / DIGIT
    return sound


def stamp_sec(samples: Samples) -> float:
    """When a stretch of `stamped` sound was made."""
    digits = np.rint(samples[:STAMP_DIGITS].astype(np.float64) * DIGIT)
    return float(sum(digit * DIGIT**place for place, digit in enumerate(digits))) / 1e6
