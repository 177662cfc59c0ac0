"""Who takes part in the next step: decisions only, without a model and without a clock of its own.

Three rules, in this order. Nobody who is being listened to runs out of sound. A new reply comes to its first sound as
fast as the machine can: while there is one (the *first lane*), others come along only where they must or where they
hardly lengthen the step. And nobody is far ahead: a reply with enough sound made rests, and rested replies wake
together, since a step costs little more for many rows than for one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from deployments.engine.cost_model import Correction, CostModel, StepWork, work_of, work_of_rows
from deployments.engine.sequence import Modality, PrefillChunk, Sequence, StepPlan
from deployments.engine.settings import SchedulerSettings
from routing.errors import AtCapacity

SMALLEST_CHUNK = 16  # positions: progress is made even while sound is short
LEEWAY = 0.8  # of the sound that is left, how much a step may be predicted to use up
REPLY_SEC = 6.0  # that a reply is believed to hold its place, until some have ended
REPLIES_REMEMBERED = 16  # over about so many the mean goes
SHORTEST_RETRY_SEC = 0.05
PATIENCE = 10  # times the promised wait: then a prompt is begun even if sound runs out for somebody
SMALLEST_GAIN = 0.05  # seconds of sound won in a second: with less there is no use in waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerStatistics:
    """Where the replies are now, and what has happened since the start."""

    running: int  # replies that have a place, resting ones included
    waiting: int  # for a place
    paced: int  # of the running: those that rest because they are ahead
    admitted: int
    refused: int
    steps: int
    mean_batch: float  # rows that decode together, over the steps that decode
    underruns: int  # times that a caller's sound ran out in the middle of a reply
    least_slack_sec: float | None  # the least sound that a caller had left at the start of a step


@dataclass(slots=True, eq=False)
class _Place:
    """A running reply, with what its progress so far says about the time that it has."""

    sequence: Sequence
    joined_at: float
    resting: bool = False
    frames: int = 0  # as of the last plan
    steps_at_frame: int = 0  # steps when the last frame was made
    frames_at_text: int = 0  # frames when it was last seen to speak words
    silent_since: float | None = None  # it left the first lane without a sound: its words are all that it gives
    silent_steps: int = 0
    stalled_sec: float = 0.0  # that its caller has waited for sound in the middle of it
    buffered_sec: float = 0.0
    slack_sec: float = 0.0  # that it can be left out of steps before its caller waits

    @property
    def is_ready(self) -> bool:
        return not self.sequence.has_prompt_left and not self.sequence.finished

    @property
    def is_playing(self) -> bool:
        return self.sequence.playing_since is not None and self.sequence.frames > 0

    @property
    def urgency(self) -> tuple[bool, float]:
        """Sorts the most urgent first."""
        return not self.sequence.released, self.slack_sec


@dataclass(slots=True, eq=False)
class _Draft:
    """A plan in the making, and the work in it."""

    work: StepWork = field(default_factory=StepWork)
    encode: list[Sequence] = field(default_factory=list)
    prefill: list[PrefillChunk] = field(default_factory=list)
    rows: list[_Place] = field(default_factory=list)

    def add_row(self, place: _Place) -> None:
        self.rows.append(place)
        self.work = self.work.with_row(place.sequence)

    def add_prompt(self, chunk: PrefillChunk) -> None:
        """Add a part of a prompt; its speech is encoded before the first."""
        self.prefill.append(chunk)
        self.work = self.work.with_prefill(chunk.length)
        if chunk.sequence.has_speech_left:
            self.encode.append(chunk.sequence)
            self.work = self.work.with_speech(chunk.sequence.speech_sec)

    def plan(self) -> StepPlan:
        return StepPlan(tuple(self.encode), tuple(self.prefill), tuple(place.sequence for place in self.rows))


class Scheduler:
    """Takes replies in, says what each step does, and lets them go.

    A reply *waits* for a place, has its prompt *prefilled*, *runs*, *rests* while it is far ahead, and is done. It
    keeps its place until `remove`. The engine keeps each `Sequence` up to date between a plan and the next one.
    """

    def __init__(
        self, settings: SchedulerSettings, cost: CostModel, *, frame_sec: float, text_run: int, audio_run: int
    ) -> None:
        self._settings = settings
        self._cost = cost
        self._correction = Correction()
        self._frame_sec = frame_sec
        self._text_run = text_run
        self._audio_run = audio_run
        self._sound_share = audio_run / (text_run + audio_run)  # of the steps of a reply that speaks
        self._real_time_sec = frame_sec * self._sound_share  # for a step: then sound is made as fast as it is played
        self._cycle_steps = text_run + audio_run
        self._rest_at_sec = max(settings.maximum_ahead_sec, 2 * frame_sec)
        self._now = 0.0
        self._waiting: dict[int, Sequence] = {}
        self._places: dict[int, _Place] = {}
        self._needed_sec = 0.0  # sound that all must have before the speech that waits can be encoded
        self._step_of_all_sec = 0.0  # predicted, of a step with everybody who is awake
        self._reply_sec: float | None = None
        self._admitted = self._refused = self._steps = self._decode_steps = self._rows = self._underruns = 0
        self._least_slack_sec: float | None = None

    # -- coming and going --------------------------------------------------------------------------------------------

    def admit(self, sequence: Sequence, now: float) -> None:
        """Take a reply in, or say at once that there is no room for it. An engine with nothing to do refuses nobody.

        Raises:
            AtCapacity: the queue is full, its first sound would come too late, or sound would run out for those who
                speak; with the time after which it is worth asking again.
        """
        self._now = now
        try:
            self._check(sequence)
        except AtCapacity:
            self._refused += 1
            raise
        self._admitted += 1
        sequence.admitted_at = now
        self._waiting[sequence.key] = sequence
        self._fill_places()

    def remove(self, sequence: Sequence) -> None:
        """Forget a reply that has ended or was cancelled: it is in no plan from now on. Doing so twice is harmless."""
        self._waiting.pop(sequence.key, None)
        place = self._places.pop(sequence.key, None)
        if place is not None:
            self._learn_reply_sec(self._now - place.joined_at)

    def observe(self, plan: StepPlan, seconds: float) -> None:
        """Say how long a step took, for predictions that keep up with a machine that has grown slower or faster.

        To be called before the sequences are brought up to date, since a plan's work is read from them. Prompts are
        left out: how long one takes also depends on whether its length was met before.
        """
        if plan.encode or plan.prefill:
            return
        self._correction.observe(self._cost.predict(work_of(plan)), seconds)

    def statistics(self) -> SchedulerStatistics:
        return SchedulerStatistics(
            running=len(self._places),
            waiting=len(self._waiting),
            paced=sum(place.resting for place in self._places.values()),
            admitted=self._admitted,
            refused=self._refused,
            steps=self._steps,
            mean_batch=self._rows / self._decode_steps if self._decode_steps else 0.0,
            underruns=self._underruns,
            least_slack_sec=self._least_slack_sec,
        )

    def _fill_places(self) -> None:
        """Those who were released come first, then those who came first."""
        while self._waiting and len(self._places) < self._settings.maximum_running:
            sequence = min(self._waiting.values(), key=_rank)
            del self._waiting[sequence.key]
            self._places[sequence.key] = _Place(sequence, joined_at=self._now)

    def _learn_reply_sec(self, seconds: float) -> None:
        if self._reply_sec is None:
            self._reply_sec = seconds
        self._reply_sec += (seconds - self._reply_sec) / REPLIES_REMEMBERED

    # -- admission ---------------------------------------------------------------------------------------------------

    def _check(self, sequence: Sequence) -> None:
        if not self._places:
            return
        settings = self._settings
        is_full = len(self._places) >= settings.maximum_running
        if is_full and len(self._waiting) >= settings.maximum_waiting:
            raise self._refusal(f"{len(self._places)} replies run and {len(self._waiting)} wait")
        if self._cycle_sec(sequence) > settings.step_budget_share * self._cycle_steps * self._real_time_sec:
            raise self._refusal(f"{len(self._places)} replies run, and one more would not be spoken without gaps")
        first_audio_sec = self._first_audio_sec(sequence)
        if first_audio_sec > settings.first_audio_target_sec:
            late_sec = first_audio_sec - settings.first_audio_target_sec
            message = f"the first sound would come after {first_audio_sec:.2f} s, and at most "
            message += f"{settings.first_audio_target_sec:g} s is promised"
            raise AtCapacity(message, retry_after_sec=max(late_sec, SHORTEST_RETRY_SEC))

    def _refusal(self, message: str) -> AtCapacity:
        """A place is free once the first of those who run has ended."""
        retry_after_sec = self._place_free_sec(self._reply_sec or REPLY_SEC)
        return AtCapacity(message, retry_after_sec=max(retry_after_sec, SHORTEST_RETRY_SEC))

    def _place_free_sec(self, reply_sec: float) -> float:
        return reply_sec / len(self._places)

    def _cycle_sec(self, newcomer: Sequence) -> float:
        """Predicted time in which everybody, and ``newcomer``, says ``audio_run`` frames."""
        everybody = [place.sequence for place in self._places.values()]
        count = min(len(everybody) + len(self._waiting) + 1, self._settings.maximum_running)
        context = sum(sequence.positions for sequence in everybody) + _full_prompt(newcomer)
        mean_context = context / (len(everybody) + 1)
        step_sec = self._cost.decode(count, count * mean_context, count * self._sound_share)
        return self._correction.factor * self._cycle_steps * step_sec

    def _first_audio_sec(self, newcomer: Sequence) -> float:
        """Predicted time until the newcomer's first sound: the step that runs, the prompts, and the first steps.

        Where its prompt would make somebody else wait even longer, the whole wait of that one.
        """
        self._look(self._now)
        rivals = self._first_places()  # the speculative too: most are released while they are among the first
        awake = [place for place in self._places.values() if place.is_ready and not place.resting]
        prompts_sec = self._prompt_sec(newcomer) + sum(self._prompt_sec(place.sequence) for place in rivals)
        alone_sec = self._step_sec(len(rivals) + 1, newcomer)
        all_sec = self._step_sec(max(len(awake), len(rivals)) + 1, newcomer)
        pressing = [place for place in awake if place.slack_sec < prompts_sec + self._text_run * alone_sec]
        step_sec = min(self._settings.first_stretch * alone_sec, all_sec)
        step_sec = max(step_sec, self._step_sec(len({*rivals, *pressing}) + 1, newcomer))
        common_sec = self._step_of_all_sec + prompts_sec + self._text_run * step_sec
        own_sec = self._waiting_sec() + self._sound_first_sec(awake, prompts_sec)
        waits = [self._now - p.sequence.arrived_at - p.sequence.steps * step_sec for p in rivals if p.sequence.released]
        return common_sec + max(own_sec, *waits, 0.0)

    def _sound_first_sec(self, awake: list[_Place], prompts_sec: float) -> float:
        """Until those who play have sound enough to bear the prompts: see `_add_prompt`."""
        slack = [place.slack_sec for place in awake if place.sequence.frames]
        short_sec = prompts_sec / LEEWAY - min(slack, default=float("inf"))
        gain = max(self._real_time_sec / max(self._step_of_all_sec, 1e-9) - 1.0, SMALLEST_GAIN)
        return max(short_sec, 0.0) / gain

    def _step_sec(self, rows: int, newcomer: Sequence) -> float:
        """Of the steps before the first sound: most of them make a token, and among others also frames."""
        frames = (rows - 1) * self._sound_share + 1 / self._text_run
        return self._correction.factor * self._cost.decode(rows, rows * _full_prompt(newcomer), frames)

    def _waiting_sec(self) -> float:
        """Until a place is free for one who joins the end of the queue; nothing is said before a reply has ended.

        Replies end when they like, so that waits for the n-th of them are spread about their mean by its n-th part's
        root: two of these on top hold for most.
        """
        needed = len(self._waiting) + len(self._places) - self._settings.maximum_running + 1
        if needed <= 0 or self._reply_sec is None:
            return 0.0
        return (needed + 2.0 * math.sqrt(needed)) * self._place_free_sec(self._reply_sec)

    # -- the next step -----------------------------------------------------------------------------------------------

    def plan(self, now: float) -> StepPlan:
        """What to do now; an empty plan when nobody has anything to do before `wake_at`."""
        self._now = now
        self._fill_places()
        self._look(now)
        self._rest()
        first = self._urgent_first_places()
        draft = self._first_step(first) if first else self._steady_step()
        self._count(draft)
        return draft.plan()

    def wake_at(self, now: float) -> float | None:
        """When there is something to do again: now, when the first of those who rest is due, or when one is told."""
        if any(not place.resting and not place.sequence.finished for place in self._places.values()):
            return now
        if self._waiting and len(self._places) < self._settings.maximum_running:
            return now
        ahead = [self._buffered_sec(place, now) for place in self._places.values() if place.is_playing]
        return now + max(min(ahead) - self._wake_below_sec, 0.0) if ahead else None

    def _count(self, draft: _Draft) -> None:
        self._steps += bool(draft.work != StepWork())
        self._decode_steps += bool(draft.rows)
        self._rows += len(draft.rows)

    def _predict(self, work: StepWork) -> float:
        return self._correction.factor * self._cost.predict(work)

    def _prompt_sec(self, sequence: Sequence) -> float:
        speech_sec = sequence.speech_sec if sequence.has_speech_left else 0.0
        return self._correction.factor * self._cost.prompt(sequence.prompt_positions - sequence.prefilled, speech_sec)

    # -- how much time everybody has ---------------------------------------------------------------------------------

    def _look(self, now: float) -> None:
        """Bring every place up to date with its sequence."""
        ready = [place for place in self._places.values() if place.is_ready]
        self._step_of_all_sec = self._predict(_work_of_rows(place for place in ready if not place.resting))
        for place in ready:
            self._measure(place, now)

    def _buffered_sec(self, place: _Place, now: float) -> float:
        return place.sequence.buffered_sec(now, self._frame_sec) + place.stalled_sec

    def _measure(self, place: _Place, now: float) -> None:
        sequence = place.sequence
        place.buffered_sec = self._buffered_sec(place, now)
        if sequence.modality is Modality.TEXT:
            place.frames_at_text = sequence.frames
        if sequence.frames > place.frames:
            place.steps_at_frame = sequence.steps
        if place.is_playing:
            self._count_underrun(place)
        place.slack_sec = self._sound_slack_sec(place) if sequence.frames else self._silent_slack_sec(place, now)
        place.frames = sequence.frames

    def _count_underrun(self, place: _Place) -> None:
        """The frames made since the last plan are there only now: without them, was there sound up to now?"""
        new_sec = (place.sequence.frames - place.frames) * self._frame_sec if place.frames else 0.0
        left_sec = place.buffered_sec - new_sec
        if self._least_slack_sec is None or left_sec < self._least_slack_sec:
            self._least_slack_sec = left_sec
        if new_sec and left_sec < 0:
            self._underruns += 1
            place.stalled_sec -= left_sec
            place.buffered_sec = new_sec

    def _sound_slack_sec(self, place: _Place) -> float:
        """What is left over when the next run of text is done, which makes no sound, and at the next frame.

        A reply that is held may be released at any moment, and then plays at once.
        """
        sequence, step_sec = place.sequence, self._step_of_all_sec / LEEWAY
        if sequence.modality is Modality.TEXT:
            tokens = max(self._text_run - (sequence.steps - place.steps_at_frame), 1)
            return place.buffered_sec - (tokens + 1) * step_sec
        at_frame_sec = place.buffered_sec - step_sec
        frames = self._audio_run - (sequence.frames - place.frames_at_text)
        if frames <= 0:
            return at_frame_sec  # the text is over, and only sound follows
        after_text_sec = place.buffered_sec + frames * self._frame_sec - (frames + self._text_run + 1) * step_sec
        return min(at_frame_sec, after_text_sec)

    def _silent_slack_sec(self, place: _Place, now: float) -> float:
        """A reply without sound goes at the pace of one that speaks, and is only late once a new caller would be."""
        if place.silent_since is None:
            place.silent_since, place.silent_steps = now, place.sequence.steps
        due_sec = (place.sequence.steps - place.silent_steps) * self._real_time_sec
        return due_sec - (now - place.silent_since) + self._settings.first_audio_target_sec

    # -- resting -----------------------------------------------------------------------------------------------------

    @property
    def _wake_below_sec(self) -> float:
        return max(self._rest_at_sec / 2, self._needed_sec)

    def _rest(self) -> None:
        """Rest whoever another frame would take beyond the limit; once one of them is due, wake all who have room.

        Were each woken for itself, steps would carry a row or two and cost nearly as much as full ones. Woken
        together they keep one batch, rise together, and rest together.
        """
        places = [place for place in self._places.values() if place.sequence.frames]
        limit_sec = max(self._rest_at_sec, self._needed_sec + 2 * self._frame_sec) - self._frame_sec
        if any(place.resting and place.buffered_sec <= self._wake_below_sec for place in places):
            for place in places:
                place.resting = False
        for place in places:
            place.resting |= place.buffered_sec > limit_sec

    # -- the first lane ----------------------------------------------------------------------------------------------

    def _first_places(self) -> list[_Place]:
        """Those of whom nothing was heard yet, earliest first.

        Whoever has gone on for longer than a run of text without a sound is giving words only, or has all its words
        before its sound: it is served like those who speak.
        """
        places = self._places.values()
        return sorted((place for place in places if self._is_first(place.sequence)), key=lambda p: _rank(p.sequence))

    def _is_first(self, sequence: Sequence) -> bool:
        return sequence.is_first and sequence.steps <= self._text_run and not sequence.finished

    def _urgent_first_places(self) -> list[_Place]:
        """Speculation counts as first only where nobody who was released does."""
        first = self._first_places()
        released = [place for place in first if place.sequence.released]
        return released or first

    def _first_step(self, first: list[_Place]) -> _Draft:
        lane = [place for place in first if place.is_ready]
        others = self._others(lane)
        horizon_sec = self._first_remaining_sec(first, lane)
        draft = _draft_of_rows(lane + [place for place in others if place.slack_sec < horizon_sec])
        self._add_prompts(draft, first)
        if draft.work == StepWork():
            return self._more_sound_first(first[0])
        own_sec = self._predict(_lane_work(draft, lane))
        limit_sec = min(own_sec * self._settings.first_stretch, self._room_sec(draft))
        self._add_while_within(draft, others, limit_sec)
        return draft

    def _others(self, lane: list[_Place]) -> list[_Place]:
        """Who could come along, the most urgent first."""
        others = [p for p in self._places.values() if p.is_ready and not p.resting and p not in lane]
        return sorted(others, key=lambda place: place.urgency)

    def _first_remaining_sec(self, first: list[_Place], lane: list[_Place]) -> float:
        """Until the first lane is empty, if nobody comes along."""
        prompts_sec = sum(self._prompt_sec(place.sequence) for place in first)
        steps = max(self._text_run + 1 - place.sequence.steps for place in first)
        return (prompts_sec + self._steps_sec(steps, _work_of_rows(lane or first[:1]))) / LEEWAY

    def _steps_sec(self, steps: int, lane: StepWork) -> float:
        """Predicted time of the last ``steps`` steps of the first lane, without others."""
        token_sec, frame_sec = (self._cost.decode(lane.rows, lane.context, frames) for frames in (0, lane.rows))
        return self._correction.factor * ((steps - 1) * token_sec + frame_sec)

    def _add_while_within(self, draft: _Draft, places: list[_Place], limit_sec: float) -> None:
        present = set(draft.rows)
        for place in places:
            if place in present:
                continue
            if self._predict(draft.work.with_row(place.sequence)) > limit_sec:
                return
            draft.add_row(place)

    # -- prompts -----------------------------------------------------------------------------------------------------

    def _add_prompts(self, draft: _Draft, first: list[_Place]) -> None:
        room_sec = self._room_sec(draft)
        self._needed_sec = 0.0
        for place in first:
            if not place.sequence.has_prompt_left:
                continue
            budget = self._settings.prefill_chunk - draft.work.prefill
            if budget < min(SMALLEST_CHUNK, place.sequence.prompt_positions - place.sequence.prefilled):
                return
            waited_sec = self._now - place.sequence.arrived_at
            if waited_sec > PATIENCE * self._settings.first_audio_target_sec:
                room_sec = float("inf")  # the machine is too slow for those who play: they wait as well as this one
            if self._add_prompt(draft, place.sequence, room_sec, budget):
                continue
            if waited_sec > self._settings.first_audio_target_sec:
                return  # whoever came later would begin to play, and there would never be enough time

    def _add_prompt(self, draft: _Draft, sequence: Sequence, room_sec: float, budget: int) -> bool:
        """Add as much of a prompt as there is time for, or say that there is none, and how much there should be."""
        work = draft.work
        if sequence.has_speech_left:
            work = work.with_speech(sequence.speech_sec)
        left = sequence.prompt_positions - sequence.prefilled
        length = min(left, budget)
        while length > SMALLEST_CHUNK and self._predict(work.with_prefill(length)) > room_sec:
            length = max(length // 2, SMALLEST_CHUNK)
        if self._predict(work.with_prefill(length)) > room_sec:
            self._need(self._predict(work.with_prefill(length)))
            return False
        draft.add_prompt(PrefillChunk(sequence, sequence.prefilled, length))
        return True

    def _more_sound_first(self, place: _Place) -> _Draft:
        """The speech of ``place`` cannot be encoded yet: make sound, also for those who rest."""
        self._rest()
        draft = self._draft_of_all()
        if not draft.rows:
            self._add_prompt(draft, place.sequence, float("inf"), self._settings.prefill_chunk)
        return draft

    def _need(self, step_sec: float) -> None:
        """Let everybody come so far ahead that a step may take ``step_sec``, also in the middle of a run of text."""
        text_sec = (self._text_run + 1) * self._step_of_all_sec
        self._needed_sec = max(self._needed_sec, step_sec / LEEWAY + text_sec)

    def _room_sec(self, draft: _Draft) -> float:
        """How long this step may take before a caller's sound runs out."""
        playing = [place for place in self._places.values() if place.sequence.frames and place.is_ready]
        rows = set(draft.rows)
        step_sec = self._predict(draft.work) if playing else 0.0
        room = (place.slack_sec + (step_sec if place in rows else 0.0) for place in playing)
        return LEEWAY * min(room, default=float("inf"))

    # -- everybody who speaks ----------------------------------------------------------------------------------------

    def _steady_step(self) -> _Draft:
        """All who are awake, unless the most urgent ones cannot wait for a step of so many."""
        self._needed_sec = 0.0
        return self._draft_of_all()

    def _draft_of_all(self) -> _Draft:
        others = self._others([])
        everybody = _draft_of_rows(others)
        all_sec = self._predict(everybody.work)
        if all_sec <= self._room_sec(everybody):
            return everybody
        pressing = _draft_of_rows([place for place in others if place.slack_sec < all_sec])
        room_sec = self._room_sec(pressing)
        if not pressing.rows or self._predict(pressing.work) > room_sec:
            return everybody  # nothing is won by a smaller step, and a full one makes more sound
        self._add_while_within(pressing, others, room_sec)
        return pressing


def _rank(sequence: Sequence) -> tuple[bool, float]:
    return not sequence.released, sequence.arrived_at


def _full_prompt(sequence: Sequence) -> int:
    return sequence.context_positions + sequence.prompt_positions


def _work_of_rows(places: Iterable[_Place]) -> StepWork:
    return work_of_rows([place.sequence for place in places])


def _draft_of_rows(places: list[_Place]) -> _Draft:
    return _Draft(rows=places, work=_work_of_rows(places))


def _lane_work(draft: _Draft, lane: list[_Place]) -> StepWork:
    """The part of the draft's work that is the first lane's own."""
    own = _work_of_rows(lane)
    return StepWork(own.rows, own.context, own.frame_rows, draft.work.prefill, draft.work.speech_sec)
