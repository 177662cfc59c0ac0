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
from routing.load import Load
from routing.turns import REPLY_SAMPLE_RATE, AudioChunk, Exchange, Heard, ReplyEnd, ReplyEvent, TextDelta, Turn


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
    """Says how often it has answered this session, and how many words of its history it was given."""

    def __init__(self, script: Script) -> None:
        self._attendance = Attendance(script.slots)
        self.backend = AttendedBackend(MetronomeBackend(script), self._attendance)

    def check_health(self) -> None:
        """It cannot be stuck."""

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
    """Answers in even steps. Each item's words name the moment at which it left, on the machine's monotonic clock."""

    script: Script
    name: str = "metronome"
    sessions: dict[str, int] = field(default_factory=dict)  # turns answered so far: what a replica remembers

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
        script = self.backend.script
        known = self.backend.sessions.get(self.turn.session_id, 0)
        heard = f"{self.samples} samples, {len(self.turn.history)} items"
        yield Heard(heard, is_final=True)
        await asyncio.sleep(script.first_sec)
        yield TextDelta(f"answer {self.turn.index}: {heard}. ")
        due = time.monotonic()
        for item in range(script.items):
            yield AudioChunk(sound(item, script.item_sec), REPLY_SAMPLE_RATE)
            due += script.item_sec
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        self.backend.sessions[self.turn.session_id] = known + 1
        yield ReplyEnd({"script": 0.0}, known, script.items)


def sound(item: int, seconds: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """A stretch whose level tells which item it is."""
    return np.full(round(seconds * REPLY_SAMPLE_RATE), (item + 1) / 256, np.float32)
