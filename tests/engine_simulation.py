"""An engine on a virtual clock: the real scheduler, steps that take a cost model's time, and callers who listen."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from deployments.engine.cost_model import CostModel, StepWork, work_of
from deployments.engine.scheduler import Scheduler
from deployments.engine.sequence import Modality, Sequence, StepPlan
from deployments.engine.settings import SchedulerSettings
from routing.errors import AtCapacity

FRAME_SEC = 0.08
TEXT_RUN = 6
AUDIO_RUN = 12

# A step of twelve takes about 36 ms here, of the 53.3 ms that it may take; one of one takes 21 ms.
SLOW_MACHINE = CostModel(
    step_base_sec=11e-3,
    row_sec=0.9e-3,
    context_sec=0.3e-6,
    frame_base_sec=9e-3,
    frame_row_sec=0.6e-3,
    prefill_base_sec=10e-3,
    prefill_sec=0.15e-3,
    encode_base_sec=10e-3,
    encode_sec=8e-3,
)
# Here the launches count and rows are nearly free.
FAST_MACHINE = CostModel(
    step_base_sec=3e-3,
    row_sec=0.03e-3,
    context_sec=1e-9,
    frame_base_sec=4e-3,
    frame_row_sec=0.03e-3,
    prefill_base_sec=3e-3,
    prefill_sec=0.01e-3,
    encode_base_sec=4e-3,
    encode_sec=0.5e-3,
)


@dataclass(slots=True, eq=False, kw_only=True)
class SimulatedTurn:
    """One turn as its caller behaves, and what became of it. Times are seconds of the virtual clock."""

    at: float
    speech_sec: float = 4.0
    frames: int = 48  # of sound in the reply
    tokens: int | None = None  # of a reply in words only, or all its words before its sound; else by turns
    held_sec: float = 0.0  # the reply is asked for so long before the turn is over
    cancelled_after_sec: float | None = None  # from ``at``
    barge_in_after_sec: float | None = None  # from the first sound
    then: Callable[[float], None] | None = None  # called when the caller has heard the reply, or was refused

    sequence: Sequence | None = None
    refused_at: float | None = None
    retry_after_sec: float | None = None
    first_frame_at: float | None = None
    heard_from: float | None = None
    ended_at: float | None = None
    was_cancelled: bool = False
    underruns: int = 0
    stalled_sec: float = 0.0  # of silence in the middle of the reply

    @property
    def released_at(self) -> float:
        return self.at + self.held_sec

    @property
    def first_audio_sec(self) -> float | None:
        return None if self.heard_from is None else self.heard_from - self.released_at

    @property
    def was_admitted(self) -> bool:
        return self.sequence is not None and self.refused_at is None


@dataclass(slots=True)
class Simulation:
    """``run`` plays the turns that were given with `add`, until nothing is left to do."""

    settings: SchedulerSettings = field(default_factory=SchedulerSettings)
    cost: CostModel = SLOW_MACHINE
    noise: float = 0.1  # standard deviation of a step's time, as a share of it
    slowness: float = 1.0  # how much longer steps take than the scheduler's model says
    seed: int = 0

    now: float = 0.0
    busy_sec: float = 0.0
    turns: list[SimulatedTurn] = field(default_factory=list)
    plans: list[StepPlan] = field(default_factory=list)
    keep_plans: bool = False
    scheduler: Scheduler = field(init=False)
    _random: random.Random = field(init=False)
    _events: list[tuple[float, int, Callable[[float], None]]] = field(default_factory=list)
    _order: itertools.count[int] = field(default_factory=itertools.count)
    _live: dict[int, SimulatedTurn] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(
            self.settings, self.cost, frame_sec=FRAME_SEC, text_run=TEXT_RUN, audio_run=AUDIO_RUN
        )
        self._random = random.Random(self.seed)

    def add(self, *turns: SimulatedTurn) -> None:
        for turn in turns:
            self.turns.append(turn)
            self.schedule(turn.at, partial(self._arrive, turn))

    def schedule(self, at: float, action: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (at, next(self._order), action))

    # -- the engine's loop -------------------------------------------------------------------------------------------

    def run(self, until: float = float("inf")) -> None:
        while self.now < until:
            self._happen(self.now)
            plan = self.scheduler.plan(self.now)
            if plan:
                self._step(plan)
            elif not self._sleep():
                return

    def _sleep(self) -> bool:
        wake_at = self.scheduler.wake_at(self.now)
        times = [event[0] for event in self._events[:1]] + ([] if wake_at is None else [wake_at])
        if not times:
            assert not self._live, "replies are left, and nothing will ever wake the engine for them"
            return False
        assert min(times) > self.now - 1e-9
        self.now = max(min(times), self.now + 1e-6)
        return True

    def _step(self, plan: StepPlan) -> None:
        if self.keep_plans:
            self.plans.append(plan)
        seconds = self.slowness * self.cost.predict(work_of(plan)) * max(self._random.gauss(1.0, self.noise), 0.5)
        self.scheduler.observe(plan, seconds)
        self.busy_sec += seconds
        end = self.now + seconds
        self._happen(end)
        self.now = end
        for sequence in plan.encode:
            sequence.encoded = True
        for chunk in plan.prefill:
            assert chunk.sequence.encoded or not chunk.sequence.speech_sec
            assert chunk.start == chunk.sequence.prefilled
            chunk.sequence.prefilled += chunk.length
            if chunk.is_last:
                self._sample(chunk.sequence)
        for sequence in plan.decode:
            self._sample(sequence)

    def _happen(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            at, _, action = heapq.heappop(self._events)
            action(at)

    # -- a reply -----------------------------------------------------------------------------------------------------

    def _sample(self, sequence: Sequence) -> None:
        turn = self._live.get(sequence.key)
        if turn is None:
            return  # cancelled while the step ran
        sequence.steps += 1
        if sequence.modality is Modality.AUDIO:
            sequence.frames += 1
            self._hear(turn, sequence)
        sequence.modality = _modality_after(turn, sequence)
        if sequence.frames == turn.frames and (turn.tokens is None or sequence.steps >= turn.tokens):
            sequence.finished = True
            self._end(turn, self.now)

    def _hear(self, turn: SimulatedTurn, sequence: Sequence) -> None:
        if sequence.frames == 1:
            turn.first_frame_at = self.now
        if not sequence.released:
            return
        if sequence.playing_since is None:
            self._play(turn, sequence, self.now)
            return
        gap_sec = self.now - sequence.playing_since - turn.stalled_sec - (sequence.frames - 1) * FRAME_SEC
        if gap_sec > 0:
            turn.underruns += 1
            turn.stalled_sec += gap_sec

    def _play(self, turn: SimulatedTurn, sequence: Sequence, now: float) -> None:
        sequence.playing_since = turn.heard_from = now
        if turn.barge_in_after_sec is not None:
            self.schedule(now + turn.barge_in_after_sec, lambda at: self._cancel(turn, at))

    # -- a caller ----------------------------------------------------------------------------------------------------

    def _arrive(self, turn: SimulatedTurn, now: float) -> None:
        sequence = turn.sequence = Sequence(
            key=self.turns.index(turn) if len(self.turns) < 100 else next(self._order),
            slot=0,
            prompt_positions=round(12.5 * turn.speech_sec) + 12,
            speech_sec=turn.speech_sec,
            maximum_steps=10_000,
            arrived_at=now,
            released=turn.held_sec == 0,
        )
        try:
            self.scheduler.admit(sequence, now)
        except AtCapacity as exc:
            turn.refused_at, turn.retry_after_sec = now, exc.retry_after_sec
            self._continue(turn, now)
            return
        self._live[sequence.key] = turn
        if turn.held_sec:
            self.schedule(turn.released_at, lambda at: self._release(turn, at))
        if turn.cancelled_after_sec is not None:
            self.schedule(now + turn.cancelled_after_sec, lambda at: self._cancel(turn, at))

    def _release(self, turn: SimulatedTurn, now: float) -> None:
        sequence = turn.sequence
        if sequence is None or turn.was_cancelled:
            return
        sequence.released = True
        if sequence.frames:
            self._play(turn, sequence, now)

    def _cancel(self, turn: SimulatedTurn, now: float) -> None:
        if turn.ended_at is None:
            turn.was_cancelled = True
            self._end(turn, now)

    def _end(self, turn: SimulatedTurn, now: float) -> None:
        assert turn.sequence is not None
        turn.ended_at = now
        self.scheduler.remove(turn.sequence)
        self._live.pop(turn.sequence.key, None)
        playing_sec = 0.0 if turn.was_cancelled else max(turn.sequence.buffered_sec(now, FRAME_SEC), 0.0)
        self._continue(turn, now + playing_sec)

    def _continue(self, turn: SimulatedTurn, now: float) -> None:
        if turn.then is not None:
            self.schedule(now, turn.then)


def _modality_after(turn: SimulatedTurn, sequence: Sequence) -> Modality:
    if turn.tokens is not None:
        return Modality.AUDIO if sequence.steps >= turn.tokens else Modality.TEXT
    return Modality.TEXT if sequence.steps % (TEXT_RUN + AUDIO_RUN) < TEXT_RUN else Modality.AUDIO


def idle_first_audio_sec(turn: SimulatedTurn, cost: CostModel, *, chunk: int = 256) -> float:
    """What the first sound of ``turn`` takes when nobody else is there."""
    positions = round(12.5 * turn.speech_sec) + 12
    chunks = [min(chunk, positions - start) for start in range(0, positions, chunk)]
    seconds = sum(cost.predict(StepWork(prefill=length)) for length in chunks) + cost.prompt(0, turn.speech_sec)
    seconds += (TEXT_RUN - 1) * cost.decode(1, positions, 0)
    return seconds + cost.decode(1, positions, 1)


# -- many callers ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Crowd:
    """Sessions that ask, listen, interrupt now and then, think, and ask again, until ``arrivals`` turns were asked."""

    simulation: Simulation
    sessions: int
    arrivals: int
    reply_sec: float = 4.0  # mean
    thinking_sec: float = 2.0  # mean; the caller's own words included
    speculative: float = 0.5  # share of the turns that are asked for before they are over
    mistaken: float = 0.2  # share of these that go on after all
    barge_in: float = 0.15
    random: random.Random = field(default_factory=lambda: random.Random(1))

    def run(self) -> None:
        for _ in range(self.sessions):
            self._think(self.random.uniform(0.0, self.reply_sec + self.thinking_sec))
        self.simulation.run()

    def _think(self, now: float) -> None:
        if len(self.simulation.turns) < self.arrivals:
            at = now + 0.3 + self.random.expovariate(1.0 / (self.thinking_sec - 0.3))
            self.simulation.add(self._turn(at))

    def _turn(self, at: float) -> SimulatedTurn:
        dice = self.random
        held_sec = dice.uniform(0.15, 0.5) if dice.random() < self.speculative else 0.0
        is_mistaken = held_sec > 0 and dice.random() < self.mistaken
        return SimulatedTurn(
            at=at,
            speech_sec=dice.uniform(1.0, 6.0),
            frames=max(round(dice.expovariate(FRAME_SEC / self.reply_sec)), 3),
            held_sec=held_sec,
            cancelled_after_sec=dice.uniform(0.1, held_sec) if is_mistaken else None,
            barge_in_after_sec=dice.uniform(0.1, self.reply_sec) if dice.random() < self.barge_in else None,
            then=self._think,
        )


def quantile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
