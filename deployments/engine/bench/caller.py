"""A caller of the engine: asks, listens as sound is played, and hangs up."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from deployments.engine.answer import Answer, Question
from deployments.engine.engine import Engine
from routing.errors import AtCapacity
from routing.turns import AudioChunk, HistoryItem, Samples, TextDelta, Turn

turn_numbers = itertools.count()


@dataclass(slots=True)
class Listener:
    """What a caller heard of one reply, on the clock of whoever feeds it."""

    asked_at: float
    on_first_audio: Callable[[], None] = lambda: None
    first_audio_at: float | None = None
    heard_until: float = 0.0  # when the sound that has come by now will have been played
    frames: int = 0
    gaps_sec: list[float] = field(default_factory=list)  # silences in the middle of the reply
    text: str = ""

    def take(self, event: object, now: float) -> None:
        match event:
            case TextDelta():
                self.text += event.text
            case AudioChunk():
                self._play(event.duration_sec, now)

    @property
    def first_audio_sec(self) -> float:
        """From the request; only where sound has come."""
        assert self.first_audio_at is not None, "no sound has come"
        return self.first_audio_at - self.asked_at

    def _play(self, seconds: float, now: float) -> None:
        self.frames += 1
        if self.first_audio_at is None:
            self.first_audio_at = self.heard_until = now
            self.on_first_audio()
        elif now > self.heard_until:
            self.gaps_sec.append(now - self.heard_until)
            self.heard_until = now
        self.heard_until += seconds


def ask(engine: Engine, session_id: str, speech: Samples, history: Sequence[HistoryItem] = ()) -> Answer:
    """A turn that is over: its reply may be heard. Raises AtCapacity where the engine is full."""
    number = next(turn_numbers)
    turn = Turn(session_id=session_id, turn_id=str(number), index=number, history=tuple(history))
    answer = engine.ask(Question(turn=turn, speech=speech, seed=number))
    answer.release()
    return answer


async def ask_until_taken(
    engine: Engine, session_id: str, speech: Samples, history: Sequence[HistoryItem] = ()
) -> Answer:
    """The same, and while the engine is full, again when it says so."""
    while True:
        try:
            return ask(engine, session_id, speech, history)
        except AtCapacity as error:
            await asyncio.sleep(error.retry_after_sec)


async def listen(answer: Answer, listener: Listener, *, frames: int) -> None:
    """Take what comes, until the reply ends or so many frames were heard; then hang up.

    Raises:
        BackendError: the reply could not be made.
    """
    events = answer.events()
    try:
        async for event in events:
            listener.take(event, time.perf_counter())
            if listener.frames >= frames:
                return
    finally:
        answer.close()
        await events.aclose()
