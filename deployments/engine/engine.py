"""The engine: a thread that does nothing but steps, and an event loop that asks it and is told what came of each."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from deployments.batch import Batch
from deployments.engine.alternation import Alternation, ControlTokens, Interleaved, Sequential
from deployments.engine.answer import Answer, Marks, Question
from deployments.engine.engine_thread import EngineThread
from deployments.engine.outcome import Sampled, StepOutcome
from deployments.engine.prompt import Mode, dialogue_of
from deployments.engine.reply_stream import ReplyStream
from deployments.engine.runner import FAILURES, Runner, RunnerStatistics
from deployments.engine.scheduler import Scheduler, SchedulerStatistics
from deployments.engine.sequence import Pace, Sequence, StepPlan
from deployments.engine.sessions import Ending, Lease, SessionStatistics, SessionTable
from deployments.engine.settings import EngineSettings
from deployments.engine.vocabulary import TextStream
from routing.errors import AntiphonError, BackendError, BackendUnavailable, InvalidRequest
from routing.turns import Message, ReplyEvent, Turn

logger = logging.getLogger(__name__)

PROMPT_MARKS = 16  # positions of a question that are neither speech nor words; only admission guesses with it
TEXT_CHARACTERS = 32_768  # of one message: more than any slot holds, and little enough to be encoded in a moment
STUCK_AFTER_SEC = 30.0  # a step that takes longer will not end
TELL_OF_SLOW_SEC = 1.0  # of one slow step after another only some are told: a machine may be too slow for all

type News = dict[ReplyStream, list[ReplyEvent | AntiphonError]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatistics:
    """What the engine does, as of its latest step."""

    scheduler: SchedulerStatistics
    sessions: SessionStatistics
    runner: RunnerStatistics
    frames: int  # of sound, made so far
    tokens: int  # of text
    faults: int  # replies that failed in a step
    step_sec: float  # the latest step
    step_running_sec: float  # how long the step that runs has been running; 0 between steps


class Engine:
    """Answers many sessions at once with one model. Use it as an async context manager; closing it ends all replies.

    Tensors, slots and replies belong to its thread. The event loop shares only the scheduler and two lists with it,
    under a lock that is never held during a step, so that a turn is taken in or refused at once.
    """

    def __init__(
        self,
        *,
        thread: EngineThread,
        runner: Runner,
        scheduler: Scheduler,
        sessions: SessionTable,
        controls: ControlTokens,
        new_text: Callable[[], TextStream],
        settings: EngineSettings,
        pace: Pace,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._thread = thread
        self._runner = runner
        self._scheduler = scheduler
        self._sessions = sessions
        self._controls = controls
        self._new_text = new_text
        self._settings = settings
        self._pace = pace
        self._clock = clock
        self._keys = itertools.count()
        self._changed = threading.Condition()
        self._arrivals: list[Answer] = []
        self._closed: list[Answer] = []
        self._answers: dict[int, Answer] = {}  # by the keys of their sequences; of the thread
        self._held: dict[str, Answer] = {}  # ended and not released: it may still be taken back
        self._stirred = False  # somebody asked, released or closed since the thread last rested
        self._closing = False
        self._failure: BaseException | None = None
        self._step_began: float | None = None
        self._step_sec = 0.0
        self._frames = self._tokens = self._faults = 0
        self._step_sizes: Counter[int] = Counter()
        self._step_times_ms: Counter[int] = Counter()
        self._on_batch: Callable[[Batch], None] | None = None
        self._told_of_slow = -math.inf
        self._run_of_steps: Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- asked on the event loop ---------------------------------------------------------------------------------------

    async def __aenter__(self) -> Engine:
        if self._run_of_steps is not None and not self._run_of_steps.done():
            raise RuntimeError("expected an engine to be entered once at a time, and this one runs")
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._run_of_steps = self._thread.do(self._work)
        return self

    async def __aexit__(self, *_: object) -> None:
        with self._changed:
            self._closing = True
            self._stir()
        assert self._run_of_steps is not None
        done, _pending = await asyncio.wait({asyncio.wrap_future(self._run_of_steps)}, timeout=STUCK_AFTER_SEC)
        if not done:
            logger.error("a step does not end; the engine is left alone with it")
            self._abandon_all(BackendUnavailable("the engine was closed in the middle of a step"))

    def ask(self, question: Question) -> Answer:
        """Ask for a reply. It is refused at once where there is no room for it.

        Raises:
            AtCapacity: the engine is full, and says when it is worth asking again.
            InvalidRequest: the speech is none, or a text is too long.
            BackendUnavailable: the engine is closing, or has failed.
        """
        self.check_health()
        check_texts(question.turn)
        if question.speech is not None:
            self._runner.encoder.check(question.speech)
        answer = self._answer(question)
        with self._changed:
            self.check_health()  # once more: a thread that has failed since would never tell this one
            self._scheduler.admit(answer.sequence, self._clock())
            self._arrivals.append(answer)
            self._stir()
        return answer

    def check_health(self) -> None:
        """Raises BackendUnavailable when the engine's thread is gone, or stuck in a step."""
        if self._failure is not None:
            raise BackendUnavailable(f"the engine has failed: {self._failure!r}")
        if self._closing or self._run_of_steps is None:
            raise BackendUnavailable("the engine is closed")
        if self._step_running_sec() > STUCK_AFTER_SEC:
            raise BackendUnavailable(f"a step of the engine has been running for {self._step_running_sec():.0f} s")

    def watch(self, on_batch: Callable[[Batch], None]) -> None:
        """Have ``on_batch`` called on the event loop after each step that admitted turns, or that was too slow for
        those who are listened to: of the slow ones at most one a second."""
        self._on_batch = on_batch

    def step_sizes(self) -> Mapping[int, int]:
        """How many steps there were with so many turns in them, since the start."""
        return dict(self._step_sizes)

    def step_times_ms(self) -> Mapping[int, int]:
        """How many steps that brought replies on took so many milliseconds, since the start."""
        return dict(self._step_times_ms)

    def statistics(self) -> EngineStatistics:
        with self._changed:
            return EngineStatistics(
                scheduler=self._scheduler.statistics(),
                sessions=self._sessions.statistics(),
                runner=self._runner.statistics(),
                frames=self._frames,
                tokens=self._tokens,
                faults=self._faults,
                step_sec=self._step_sec,
                step_running_sec=self._step_running_sec(),
            )

    def _step_running_sec(self) -> float:
        began = self._step_began
        return 0.0 if began is None else self._clock() - began

    def _on_change(self, answer: Answer) -> None:
        """A reply was released or closed. Whoever asks next finds the place of a closed one free."""
        with self._changed:
            if answer.closed:
                self._scheduler.remove(answer.sequence)
                self._closed.append(answer)
            self._stir()

    def _stir(self) -> None:
        self._stirred = True
        self._changed.notify()

    def _answer(self, question: Question) -> Answer:
        now = self._clock()
        speech = None if question.speech is None else question.speech.copy()  # the caller may use the array again
        dialogue = dialogue_of(question.turn, speech)
        sequence = self._sequence(question, now)
        return Answer(
            question=question,
            dialogue=dialogue,
            sampling=question.sampling or self._settings.sampling,
            sequence=sequence,
            alternation=self._alternation(dialogue.mode),
            text=self._new_text(),
            changed=self._on_change,
            marks=Marks(asked=now),
        )

    def _sequence(self, question: Question, now: float) -> Sequence:
        """Its slot, and the true length of its prompt, are known when its session is."""
        spoken = 0 if question.speech is None else self._runner.encoder.positions_of(len(question.speech))
        return Sequence(
            key=next(self._keys),
            slot=-1,
            prompt_positions=spoken + PROMPT_MARKS,
            speech_sec=0.0 if question.speech is None else len(question.speech) / self._runner.encoder.sample_rate,
            maximum_steps=self._pace.steps_in(self._settings.maximum_reply_sec),
            arrived_at=now,
        )

    def _alternation(self, mode: Mode) -> Alternation:
        if mode is Mode.INTERLEAVED:
            return Interleaved(self._controls, text_run=self._pace.text_run, audio_run=self._pace.audio_run)
        return Sequential(self._controls)

    # -- the thread ----------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while not self._closing:
                if not self.step():
                    self._rest()
            self._close_all()
        except BaseException as error:
            self._failure = error
            logger.exception("the engine has failed")
            self._abandon_all(BackendUnavailable(f"the engine has failed: {error!r}"))

    def step(self) -> bool:
        """Schedule, run, account. False where there was nothing to do."""
        arrivals = self._take_arrivals()  # first: they count on the slots of all who closed before they asked
        self._close_unwanted()
        self._open_all(arrivals)
        self._play_released()
        with self._changed:
            if self._arrivals:  # since they were opened: the scheduler knows them, and they have no slot yet
                return True
            plan = self._scheduler.plan(self._clock())
        if not plan:
            return False
        self._account(plan, self._run(plan))
        return True

    def _rest(self) -> None:
        """Until somebody asks, or a reply that was ahead of its playing is due."""
        with self._changed:
            now = self._clock()
            wake_at = self._scheduler.wake_at(now)
            if not self._stirred:
                self._changed.wait(None if wake_at is None else max(wake_at - now, 0.0))
            self._stirred = False

    def _run(self, plan: StepPlan) -> StepOutcome:
        began = self._step_began = self._clock()
        for sequence in (*plan.encode, *(chunk.sequence for chunk in plan.prefill)):
            marks = self._answers[sequence.key].marks
            marks.started = marks.started or began
        try:
            outcome = self._runner.run(plan)
        finally:
            self._step_sec = self._clock() - began
            self._step_began = None
        with self._changed:
            self._scheduler.observe(plan, self._step_sec)
        self._count(plan)
        self._report(plan, began)
        return outcome

    def _count(self, plan: StepPlan) -> None:
        self._step_sizes[len(plan.decode) + len(plan.prefill)] += 1
        if plan.decode:
            self._step_times_ms[round(1000 * self._step_sec)] += 1

    def _report(self, plan: StepPlan, began: float) -> None:
        if self._on_batch is None:
            return
        begun = (self._answers[chunk.sequence.key] for chunk in plan.prefill if chunk.start == 0)
        # Whose attempt was closed meanwhile may have asked for another, for which this step did nothing.
        admitted = tuple(answer.question.turn.turn_id for answer in begun if not answer.closed)
        is_slow = self._step_sec > self._pace.step_budget_sec and began > self._told_of_slow + TELL_OF_SLOW_SEC
        if is_slow:
            self._told_of_slow = began
        if admitted or is_slow:
            batch = Batch(
                began=began,
                ended=began + self._step_sec,
                size=len(plan.decode) + len(plan.prefill),
                admitted=admitted,
                prefill_tokens=sum(chunk.length for chunk in plan.prefill),
            )
            self._on_loop(self._on_batch, batch)

    # -- coming and going ----------------------------------------------------------------------------------------------

    def _take_arrivals(self) -> list[Answer]:
        with self._changed:
            arrivals, self._arrivals = self._arrivals, []
        return arrivals

    def _open_all(self, arrivals: list[Answer]) -> None:
        for answer in arrivals:
            if answer.closed:
                self._close(answer)
                continue
            try:
                self._open(answer)
            except Exception as error:  # whatever a turn is made of, or lacks, is no reason to end the others
                if not isinstance(error, AntiphonError):
                    logger.warning("a reply could not be begun", exc_info=error)
                self._tell({answer.stream: [self._fail(answer, error)]})

    def _open(self, answer: Answer) -> None:
        """Give the reply its slot. A turn of the same session that still runs has been overtaken by this one."""
        session_id = answer.question.turn.session_id
        if answer.dialogue.remembered:
            for other in [one for one in self._answers.values() if self._key(one) == session_id]:
                self._close(other)
            self._settle_held(session_id)
        lease = answer.lease = self._sessions.begin(session_id, answer.dialogue, self._clock())
        sequence = answer.sequence
        sequence.slot = lease.slot
        sequence.context_positions = lease.context_positions
        sequence.prompt_positions = lease.prompt_positions
        sequence.maximum_steps = min(sequence.maximum_steps, lease.room)
        self._answers[sequence.key] = answer
        self._runner.begin(sequence, lease, answer.sampling, answer.question.seed)

    def _key(self, answer: Answer) -> str | int:
        return self._lease(answer).key

    def _settle_held(self, session_id: str) -> None:
        """A reply that ended unreleased was never heard, unless its release has come since."""
        held = self._held.pop(session_id, None)
        if held is not None and not held.sequence.released:
            self._sessions.rollback(self._lease(held), self._clock())

    def _close_unwanted(self) -> None:
        with self._changed:
            closed, self._closed = self._closed, []
        for answer in closed:
            if answer.sequence.key in self._answers:
                self._close(answer)
            if answer.heard_sec is not None and answer.lease is not None and answer.lease.is_over:
                self._sessions.heard(answer.lease, math.floor(answer.heard_sec / self._pace.frame_sec + 1e-6))
        for session_id in [key for key, held in self._held.items() if held.closed or held.sequence.released]:
            self._settle_held(session_id)

    def _close(self, answer: Answer, error: AntiphonError | None = None) -> None:
        """End a reply between two steps: nobody waits for it any more, or ``error`` is told to who does."""
        self._drop(answer)
        if answer.lease is not None and answer.sequence.released:
            self._sessions.finish(answer.lease, Ending.CUT, self._clock())
        elif answer.lease is not None:
            self._sessions.rollback(answer.lease, self._clock())
        self._tell({answer.stream: [error or BackendError("the reply was closed")]})

    def _close_all(self) -> None:
        for answer in [*self._answers.values(), *self._take_arrivals()]:
            self._close(answer, BackendUnavailable("the engine was closed"))

    def _abandon_all(self, error: AntiphonError) -> None:
        """What the sessions hold is of no use any more."""
        answers = [*self._answers.values(), *self._take_arrivals()]
        self._answers = {}
        self._tell({answer.stream: [error] for answer in answers})

    def _drop(self, answer: Answer) -> None:
        answer.sequence.finished = True
        with self._changed:
            self._scheduler.remove(answer.sequence)
        self._answers.pop(answer.sequence.key, None)
        self._runner.end(answer.sequence)

    # -- after a step --------------------------------------------------------------------------------------------------

    def _account(self, plan: StepPlan, outcome: StepOutcome) -> None:
        now = self._clock()
        for sequence in plan.encode:
            self._answers[sequence.key].marks.encode_sec += outcome.encode_sec
            sequence.encoded = True
        for chunk in plan.prefill:
            chunk.sequence.prefilled += chunk.length
            if chunk.is_last:
                self._answers[chunk.sequence.key].marks.prefilled = now
        for sequence in outcome.settled:
            self._sessions.settle(self._lease(self._answers[sequence.key]))
        news: News = {}
        for sampled in outcome.sampled:
            answer = self._answers[sampled.sequence.key]
            news[answer.stream] = self._take(answer, sampled, now)
        for fault in outcome.faults:
            answer = self._answers[fault.sequence.key]
            news[answer.stream] = [self._fail(answer, fault.error)]
        self._faults += len(outcome.faults)
        self._tell(news)

    def _take(self, answer: Answer, sampled: Sampled, now: float) -> list[ReplyEvent | AntiphonError]:
        if sampled.token is not None:
            self._tokens += 1
            events = answer.take_token(sampled.token, now)
        else:
            assert sampled.codes is not None
            events = answer.take_frame(sampled.codes, sampled.samples, now)
            self._frames += sampled.samples is not None
        return [*events, *(self._end(answer, answer.ending, now) if answer.ending else [])]

    def _play_released(self) -> None:
        """A reply is heard from its first sound on, and one that was held from its release on."""
        for answer in self._answers.values():
            sequence = answer.sequence
            if sequence.released and sequence.frames and sequence.playing_since is None:
                sequence.playing_since = self._clock()

    def _end(self, answer: Answer, ending: Ending, now: float) -> list[ReplyEvent | AntiphonError]:
        try:
            rest = self._runner.flush(answer.sequence)
        except FAILURES as error:
            self._faults += 1
            return [self._fail(answer, error)]
        self._drop(answer)
        lease = self._lease(answer)
        self._sessions.finish(lease, ending, now)
        if isinstance(lease.key, str):
            self._held[lease.key] = answer
        return [*answer.last_events(rest, now)]

    def _lease(self, answer: Answer) -> Lease:
        assert answer.lease is not None, "a reply that takes part in steps has its slot"
        return answer.lease

    def _fail(self, answer: Answer, error: BaseException) -> AntiphonError:
        """Nobody knows what the slot holds now: the session's next turn does not build on it."""
        self._drop(answer)
        if answer.lease is not None:
            self._sessions.discard(answer.lease, self._clock())
        if isinstance(error, AntiphonError):
            return error
        failure = BackendError(f"the reply failed: {error!r}")
        failure.__cause__ = error
        return failure

    def _tell(self, news: News) -> None:
        """One hop to the event loop, with everybody's news."""
        if news:
            self._on_loop(deliver, news)

    def _on_loop[Told](self, tell: Callable[[Told], None], told: Told) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed, and nobody reads any more
                self._loop.call_soon_threadsafe(tell, told)


def check_texts(turn: Turn) -> None:
    """Raises InvalidRequest for a text that no slot has room for. To encode it would hold everybody's steps up."""
    said = (item.text for item in turn.history if isinstance(item, Message))
    longest = max(len(text) for text in (turn.instructions, turn.script, *said) if isinstance(text, str))
    if longest > TEXT_CHARACTERS:
        message = f"expected instructions, scripts and messages of at most {TEXT_CHARACTERS} characters, came {longest}"
        raise InvalidRequest(message, code="text_too_long")


def deliver(news: News) -> None:
    """Hand each reader their events, or the error that ends them."""
    for stream, items in news.items():
        stream.feed([item for item in items if not isinstance(item, AntiphonError)])
        for error in items:
            if isinstance(error, AntiphonError):
                stream.fail(error)
