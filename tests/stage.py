"""A session on virtual time with a caller who speaks, pauses and listens, all by the sample."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

from edge_client.ears import Ears
from edge_client.endpointer import EndpointerSettings
from edge_client.mouth import PacedMouth
from edge_client.past import NO_PAST, Past
from edge_client.session import Session, SessionParts, open_session
from edge_client.session_events import SessionEvent
from edge_client.session_options import SessionOptions
from edge_client.turn_story import Reception
from edge_client.turn_trace import SessionTracing
from routing.contender import Contender
from routing.router import Router
from routing.telemetry.program import Telemetry
from routing.turns import REPLY_SAMPLE_RATE, SPEECH_SAMPLE_RATE, Backend, Samples
from tests.scripted import LoudnessDetector, ScriptedBackend, ScriptedJudge, tone

PACKET_SEC = 0.02


class InlineThread:
    """Runs models where it is called: on virtual time no thread may be waited for."""

    async def run[T](self, function: Callable[[], T]) -> T:
        return function()


@dataclass(slots=True)
class Stage:
    """One caller and their session. ``events`` and ``heard`` are what the caller got, in order."""

    session: Session
    mouth: PacedMouth
    backend: ScriptedBackend
    events: list[SessionEvent] = field(default_factory=list)
    heard: list[Samples] = field(default_factory=list)

    async def speak(self, seconds: float) -> None:
        await self._send(seconds, tone(PACKET_SEC)[: int(PACKET_SEC * SPEECH_SAMPLE_RATE)])

    async def pause(self, seconds: float) -> None:
        await self._send(seconds, np.zeros(int(PACKET_SEC * SPEECH_SAMPLE_RATE), np.float32))

    async def _send(self, seconds: float, packet: Samples) -> None:
        for _ in range(round(seconds / PACKET_SEC)):
            self.session.hear(packet)
            await asyncio.sleep(PACKET_SEC)

    async def listen(self) -> None:
        """Pull the reply at the pace of a WebRTC sender."""
        while True:
            self.heard.append(self.mouth.read(int(PACKET_SEC * REPLY_SAMPLE_RATE)))
            await asyncio.sleep(PACKET_SEC)

    def got[E](self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def kinds(self) -> list[str]:
        """The names of the events so far, without repeats in a row."""
        names = [type(event).__name__ for event in self.events]
        return [name for name, before in zip(names, [None, *names], strict=False) if name != before]

    @property
    def loud_sec(self) -> float:
        """How long the caller heard something."""
        return sum(PACKET_SEC for packet in self.heard if np.abs(packet).max() > 0.01)


@asynccontextmanager
async def on_stage(
    backend: ScriptedBackend | None = None,
    *,
    judge: ScriptedJudge | None = None,
    telemetry: Telemetry | None = None,
    reception: Callable[[], Reception | None] = lambda: None,
    others: Sequence[Backend] = (),
    past: Past = NO_PAST,
    **options: object,
) -> AsyncIterator[Stage]:
    backend = backend or ScriptedBackend()
    mouth = PacedMouth()
    events: list[SessionEvent] = []
    chosen = SessionOptions(**({"endpointer": EndpointerSettings()} | options))  # type: ignore[arg-type]
    parts = SessionParts(
        backend=Router([Contender.here(each) for each in (backend, *others)]),
        ears=Ears(detector=LoudnessDetector(), thread=InlineThread(), settings=chosen.endpointer),
        judge=judge or ScriptedJudge(),
        mouth=mouth,
        emit=events.append,
        tracing=SessionTracing("sess_test", telemetry or Telemetry.silent()),
        reception=reception,
    )
    async with open_session("sess_test", parts, options=chosen, past=past) as session, asyncio.TaskGroup() as tasks:
        stage = Stage(session, mouth, backend, events)
        listening = tasks.create_task(stage.listen())
        try:
            yield stage
        finally:
            listening.cancel()
