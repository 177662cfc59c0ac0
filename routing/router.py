"""Sends each turn to whoever answers it best, and to another where that one fails."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from routing.attempt import Attempt, Tracks
from routing.contender import Contender
from routing.decision import Decision
from routing.errors import BackendError
from routing.own_tasks import own_tasks
from routing.policy import Choice, DeviceState, PolicyName, Prospect, Question, choose
from routing.record import PlacementRecord
from routing.seat import Seat
from routing.settings import RoutingSettings
from routing.track import Track, why
from routing.turns import AudioChunk, Backend, Exchange, Heard, ReplyEvent, Turn

type Choose = Callable[[PolicyName, Question, Sequence[Prospect], DeviceState], Choice]
type Understand = Callable[[Turn, str, float], Question]


def question_of(turn: Turn, words: str, speech_sec: float) -> Question:  # noqa: ARG001 words are for those who read them
    """What a turn asks for, as far as that needs no understanding."""
    return Question(
        speech_sec=speech_sec,
        stays_here=turn.privacy == "device_only",
        needs_tools=bool(turn.tools) and turn.tool_choice != "none",
        is_script=turn.script is not None,
    )


def _forget(_: PlacementRecord) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How decisions are made.

    Args:
        device_state: how the machine is doing, asked at each decision
        understand: what a turn asks for, from the turn, the user's words ("" where there are none) and their seconds
        choose: the policies
        on_placed: gets the record of each turn that was released, once, when it is over
    """

    device_state: Callable[[], DeviceState] = DeviceState
    understand: Understand = question_of
    choose: Choose = choose
    on_placed: Callable[[PlacementRecord], None] = _forget


class Router:
    """A `Backend` over backends. Its outlooks are fed by what is seen of each turn, on the event loop's clock.

    Args:
        contenders: who may answer. The first one on this machine writes down what the user says.
        settings: the policy, and how long to wait for whom
        device_state, understand, choose, on_placed: see `Judgement`
    """

    name = "router"

    def __init__(
        self,
        contenders: Sequence[Contender],
        *,
        settings: RoutingSettings = RoutingSettings(),  # noqa: B008 it is frozen
        device_state: Callable[[], DeviceState] = DeviceState,
        understand: Understand = question_of,
        choose: Choose = choose,
        on_placed: Callable[[PlacementRecord], None] = _forget,
    ) -> None:
        self._contenders = tuple(contenders)
        self._settings = settings
        self._judgement = Judgement(
            device_state=device_state, understand=understand, choose=choose, on_placed=on_placed
        )

    @classmethod
    def over(cls, backend: Backend) -> Router:
        """With one backend there is nothing to choose; every reply still names its placement."""
        return cls([Contender.here(backend)])

    @asynccontextmanager
    async def open(self, turn: Turn, *, on_heard: Callable[[Heard], None]) -> AsyncIterator[Exchange]:
        """See `routing.turns.Backend`. A turn that stays here is opened to nobody elsewhere."""
        async with own_tasks() as tasks:
            exchange = RoutedExchange(
                turn,
                self._contenders,
                settings=self._settings,
                judgement=self._judgement,
                tasks=tasks,
                on_heard=on_heard,
            )
            try:
                yield exchange
            finally:
                exchange.leave()


class RoutedExchange:
    """One turn: fed to all who may answer it, and answered by one at a time. Made by `Router.open`."""

    def __init__(
        self,
        turn: Turn,
        contenders: Sequence[Contender],
        *,
        settings: RoutingSettings,
        judgement: Judgement,
        tasks: asyncio.TaskGroup,
        on_heard: Callable[[Heard], None],
    ) -> None:
        self._turn = turn
        self._contenders = contenders
        self._settings = settings
        self._judgement = judgement
        self._tasks = tasks
        self._on_heard = on_heard
        self._speech_sec = 0.0
        self._committed_at: float | None = None
        self._attempt: Attempt | None = None
        self._moved = asyncio.Event()
        self._scripts: list[Seat] = []  # of those who went on for somebody
        allowed = [contender for contender in contenders if self._may_open(contender)]
        self._seats = {contender.name: self._seat(contender, turn) for contender in allowed}

    def _may_open(self, contender: Contender) -> bool:
        if not contender.traits.is_remote:
            return True
        if self._turn.privacy == "device_only" or self._settings.policy == "device":
            return False
        if self._turn.script is not None and not contender.traits.scripts:
            return False
        return contender.outlook.why_not(_now()) is None

    def _seat(self, contender: Contender, turn: Turn) -> Seat:
        return Seat(
            contender,
            turn,
            settings=self._settings,
            tasks=self._tasks,
            on_heard=self._note_heard,
            on_moved=self._moved.set,
        )

    # -- while the user speaks -----------------------------------------------------------------------------------------

    def feed(self, chunk: AudioChunk) -> None:
        """See `routing.turns.Exchange`."""
        self._speech_sec += chunk.duration_sec
        for seat in self._seats.values():
            seat.feed(chunk)

    def _note_heard(self, seat: Seat, heard: Heard) -> None:
        if seat is self._writer:
            self._on_heard(heard)

    @property
    def _writer(self) -> Seat | None:
        """Who writes down what the user says: somebody here where possible, for its words are the soonest."""
        seats = [seat for seat in self._seats.values() if not seat.fault]
        return min(seats, key=lambda seat: seat.contender.traits.is_remote, default=None)

    # -- the reply -----------------------------------------------------------------------------------------------------

    async def reply(self) -> AsyncGenerator[ReplyEvent]:
        """See `routing.turns.Exchange`. Before `commit` nothing is told but the user's words."""
        attempt = self._attempt = self._begin()
        try:
            now = _now()
            while not attempt.is_over:
                self._moved.clear()
                event = attempt.next(now)
                if event is not None:
                    yield event
                    now = _now()
                else:
                    now = await self._movement(attempt.wakes_at)
        finally:
            self._end(attempt)

    def _begin(self) -> Attempt:
        writer = self._writer
        attempt = Attempt(
            self._turn,
            self._seats,
            writer=writer.name if writer else None,
            is_spoken=self._speech_sec > 0,
            settings=self._settings,
            now=_now(),
            decide=self._decide,
            open_script=self._open_script,
        )
        if self._committed_at is not None:
            attempt.commit(self._committed_at)
        return attempt

    def commit(self) -> None:
        """The turn is over: decide who answers. Only the exchange that speaks is committed."""
        if self._committed_at is None:
            self._committed_at = _now()
            if self._attempt:
                self._attempt.commit(self._committed_at)
            self._moved.set()

    async def _movement(self, until: float) -> float:
        """Wait for news, at most until then; what time it is now."""
        try:
            async with asyncio.timeout_at(None if math.isinf(until) else until):
                await self._moved.wait()
        except TimeoutError:
            return max(_now(), until)  # timers may be early by what a clock cannot tell
        return _now()

    def _end(self, attempt: Attempt) -> None:
        """Contenders let go of their replies soon; one that is slow at it holds up nobody but itself."""
        self._attempt = None
        attempt.close()
        self._report(attempt)

    def _open_script(self, name: str, script: str) -> Seat:
        contender = self._seats[name].contender
        self._scripts.append(self._seat(contender, replace(self._turn, script=script)))
        return self._scripts[-1]

    def leave(self) -> None:
        """Close every exchange, soon."""
        for seat in (*self._seats.values(), *self._scripts):
            seat.leave()

    # -- the decision --------------------------------------------------------------------------------------------------

    def _decide(self, tracks: Tracks, words: str) -> Decision:
        now = _now()
        question = self._judgement.understand(self._turn, words, self._speech_sec)
        prospects = tuple(self._prospect(contender, tracks, now) for contender in self._contenders)
        device = self._judgement.device_state()
        choice = self._choose(question, prospects, device)
        return Decision(
            at=time.time(),
            decided_at=now,
            decided_sec=_now() - now,
            question=question,
            prospects=prospects,
            device=device,
            choice=choice,
        )

    def _choose(self, question: Question, prospects: Sequence[Prospect], device: DeviceState) -> Choice:
        try:
            return self._judgement.choose(self._settings.policy, question, prospects, device)
        except BackendError as error:
            return Choice(first="", reason=str(error))

    def _prospect(self, contender: Contender, tracks: Mapping[str, Track], now: float) -> Prospect:
        track = tracks.get(contender.name)
        if track is None or track.fault:
            why_not = why(track.fault) if track and track.fault else None
            prospect = contender.outlook.prospect(self._speech_sec, now)
            return replace(prospect, why_not=why_not or prospect.why_not or "not asked")
        asked_ago_sec = 0.0 if track.wanted_at is None else now - track.asked_at
        prospect = contender.outlook.prospect(
            self._speech_sec, now, asked_ago_sec=asked_ago_sec, is_ready=track.is_ready
        )
        if prospect.why_not and (track.is_ready or prospect.why_not == CIRCUIT_OPEN):
            return replace(prospect, why_not=None)  # it may be the very turn that shows whether the circuit can close
        return prospect

    def _report(self, attempt: Attempt) -> None:
        if attempt.committed_at is None:
            return
        decision = attempt.decision or self._decide({}, "")
        self._judgement.on_placed(
            PlacementRecord(
                turn_id=self._turn.turn_id,
                session_id=self._turn.session_id,
                index=self._turn.index,
                at=decision.at,
                policy=self._settings.policy,
                question=decision.question,
                prospects=decision.prospects,
                device=decision.device,
                choice=decision.choice,
                committed_after_sec=attempt.committed_at - attempt.asked_at,
                outcome=attempt.outcome(),
                traceparent=self._turn.trace_context.get("traceparent", ""),
                decided_at=decision.decided_at,
                decided_sec=decision.decided_sec,
                decided_after_sec=decision.decided_at - attempt.committed_at,
            )
        )


CIRCUIT_OPEN = "circuit open"


def _now() -> float:
    return asyncio.get_running_loop().time()
