"""Backends that follow a timetable, and a listener who writes down what a router tells, and when. For virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

from routing.contender import Contender
from routing.errors import BackendError
from routing.outlook import Outlook
from routing.policy import Choice, DeviceState, PolicyName, Prospect, Question, Traits
from routing.record import PlacementRecord
from routing.router import Choose, Router
from routing.settings import RoutingSettings
from routing.turns import (
    REPLY_SAMPLE_RATE,
    SPEECH_SAMPLE_RATE,
    AudioChunk,
    Exchange,
    Heard,
    Placement,
    ReplyEnd,
    ReplyEvent,
    TextDelta,
    Turn,
)

TURN = Turn(session_id="sess_1", turn_id="turn_1", index=0)
SPEECH = AudioChunk(np.zeros(SPEECH_SAMPLE_RATE, np.float32), SPEECH_SAMPLE_RATE)  # a second
HERE = Traits(is_remote=False)
AWAY = Traits(is_remote=True, quality_sec=0.3, scripts=False, knowledge=True, long_answers=True)
END = ReplyEnd()
PATIENCE_SEC = 0.3


class Never:
    """A step that takes for ever."""


NEVER = Never()

type Step = float | str | ReplyEvent | Exception | Never


def sound(seconds: float, mark: float = 0.5) -> AudioChunk:
    """A constant level, by which a test knows whose it is."""
    return AudioChunk(np.full(round(seconds * REPLY_SAMPLE_RATE), mark, np.float32), REPLY_SAMPLE_RATE)


class Timed:
    """Answers by a timetable: numbers are seconds to wait, strings are words, errors are raised.

    A script is said at once, clause by clause, with the steps in ``script`` in place of a tone.
    """

    def __init__(
        self,
        name: str,
        *steps: Step,
        traits: Traits | None = None,
        opening: Exception | None = None,
        script: Sequence[Step] = (),
    ) -> None:
        self.name = name
        self.steps = steps
        self.traits = traits or (HERE if name == "device" else AWAY)
        self.opening = opening
        self.script = script
        self.turns: list[Turn] = []
        self.exchanges: list[TimedExchange] = []

    @asynccontextmanager
    async def open(self, turn: Turn, *, on_heard: Callable[[Heard], None]) -> AsyncIterator[Exchange]:
        self.turns.append(turn)
        if self.opening:
            raise self.opening
        exchange = TimedExchange(turn, self._steps(turn), on_heard)
        self.exchanges.append(exchange)
        try:
            yield exchange
        finally:
            assert not exchange.is_replying, "the reply is closed before its exchange"
            exchange.is_closed = True

    def __repr__(self) -> str:
        steps = ", ".join(map(_shown, self.steps))
        return f"Timed({self.name!r}, {steps}, opening={self.opening!r}, script={list(map(_shown, self.script))})"

    def _steps(self, turn: Turn) -> Sequence[Step]:
        if turn.script is None:
            return self.steps
        return self.script or (0.05, turn.script, sound(len(turn.script) / 15), END)

    @property
    def asked(self) -> int:
        return sum(exchange.asked for exchange in self.exchanges)

    @property
    def rolled_back(self) -> int:
        return sum(exchange.rolled_back for exchange in self.exchanges)

    @property
    def committed(self) -> int:
        return sum(exchange.is_committed for exchange in self.exchanges)


@dataclass(slots=True)
class TimedExchange:
    turn: Turn
    steps: Sequence[Step]
    on_heard: Callable[[Heard], None]
    chunks: list[AudioChunk] = field(default_factory=list)
    asked: int = 0
    told: int = 0  # events
    rolled_back: int = 0
    is_replying: bool = False
    is_committed: bool = False
    is_closed: bool = False

    def feed(self, chunk: AudioChunk) -> None:
        assert not self.is_closed
        self.chunks.append(chunk)

    async def reply(self) -> AsyncGenerator[ReplyEvent]:
        assert not self.is_replying, "one reply at a time"
        assert not self.is_closed
        self.asked += 1
        self.is_replying = True
        finished = False
        try:
            for step in self.steps:
                if (event := await _taken(step)) is not None:
                    self.told += 1
                    finished = isinstance(event, ReplyEnd)
                    yield event
        finally:
            try:
                await asyncio.sleep(0)  # nobody lets go without a moment's work
            finally:
                self.is_replying = False
                self.rolled_back += not finished

    def commit(self) -> None:
        assert not self.is_closed
        self.is_committed = True


async def _taken(step: Step) -> ReplyEvent | None:
    match step:
        case float() | int():
            await asyncio.sleep(step)
            return None
        case str():
            return TextDelta(step)
        case Exception():
            raise step
        case Never():
            await asyncio.Event().wait()
            raise AssertionError
        case _:
            return step


def _shown(step: Step) -> str:
    match step:
        case AudioChunk():
            return f"sound({step.duration_sec:g})"
        case Never():
            return "NEVER"
        case ReplyEnd():
            return "END"
        case _:
            return repr(step)


# -- the choice ------------------------------------------------------------------------------------------------------


def in_order(*names: str, patience_sec: float = PATIENCE_SEC) -> Choose:
    """A policy that takes the first two of these that can be asked, and the first with patience."""

    def choose(_: PolicyName, __: Question, prospects: Sequence[Prospect], ___: DeviceState) -> Choice:
        able = [name for name in names if any(p.name == name and p.why_not is None for p in prospects)]
        if not able:
            raise BackendError("there is nobody to answer")
        second = able[1] if len(able) > 1 else None
        return Choice(first=able[0], second=second, patience_sec=patience_sec, reason="as told")

    return choose


# -- a router, and who listens to it ---------------------------------------------------------------------------------


@dataclass(slots=True)
class Told:
    """What a listener got: events in order, each with its moment in seconds since the turn's end."""

    events: list[ReplyEvent] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    partials: list[str] = field(default_factory=list)
    records: list[PlacementRecord] = field(default_factory=list)
    error: BackendError | None = None

    def got[E](self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.got(TextDelta))

    @property
    def voices(self) -> list[str]:
        """Who spoke, one after the other."""
        return [placement.backend for placement in self.got(Placement)]

    @property
    def words(self) -> list[str]:
        return [heard.text for heard in self.got(Heard)]

    @property
    def sound_sec(self) -> float:
        return sum(chunk.duration_sec for chunk in self.got(AudioChunk))

    def moment(self, kind: type) -> float:
        """When the first of these came, to the millisecond."""
        moments = zip(self.events, self.moments, strict=True)
        return round(next(at for event, at in moments if isinstance(event, kind)), 3)

    @property
    def record(self) -> PlacementRecord:
        (record,) = self.records
        return record


def contender(backend: Timed) -> Contender:
    return Contender(backend, Outlook(backend.name, backend.traits))


def router_over(
    *backends: Timed, told: Told, choose: Choose | None = None, settings: RoutingSettings | None = None
) -> Router:
    return Router(
        [contender(backend) for backend in backends],
        settings=settings or RoutingSettings(),
        choose=choose or in_order("cloud", "device"),
        on_placed=told.records.append,
    )


async def listen(
    *backends: Timed,
    turn: Turn = TURN,
    pause_sec: float = 0.1,
    choose: Choose | None = None,
    settings: RoutingSettings | None = None,
    paced: bool = False,
) -> Told:
    """One turn of a second's speech; it is asked for, released ``pause_sec`` later, and read to its end.

    A ``paced`` listener takes sound only as fast as it is played.
    """
    told = Told()
    router = router_over(*backends, told=told, choose=choose, settings=settings)
    async with router.open(turn, on_heard=lambda heard: told.partials.append(heard.text)) as exchange:
        await asyncio.sleep(1.0)
        exchange.feed(SPEECH)
        loop = asyncio.get_running_loop()
        end = loop.time() + pause_sec
        loop.call_at(end, exchange.commit)
        await read(exchange, told, since=end, paced=paced)
    return told


async def read(exchange: Exchange, told: Told, *, since: float = 0.0, paced: bool = False) -> None:
    """Write down a reply to its end, or to its error."""
    try:
        async with aclosing(exchange.reply()) as events:
            async for event in events:
                told.events.append(event)
                told.moments.append(asyncio.get_running_loop().time() - since)
                if paced and isinstance(event, AudioChunk):
                    await asyncio.sleep(event.duration_sec)
    except BackendError as error:
        told.error = error
