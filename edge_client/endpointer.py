"""Decides when the user's turn begins, pauses, goes on and is over.

Time is counted in samples of the stream (16 kHz), one frame of 32 ms at a time; nothing here waits or looks at a clock.
What a turn tells, in order::

    SpeechOnset (SpeechDoubtful SpeechResumed)* ─┬─ [SpeechDoubtful] SpeechDropped
                                                 └─ SpeechStarted (SpeechPaused SpeechResumed)* [SpeechPaused] TurnEnded

A `clear` turns what is left of any of these into a `SpeechDropped`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from math import ceil, isnan
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from routing.turns import SPEECH_SAMPLE_RATE

FRAME_SAMPLES = 512  # what the voice detector judges at once
FRAME_MS = FRAME_SAMPLES * 1000 // SPEECH_SAMPLE_RATE  # 32
SPEECH_FRAMES = 2 * FRAME_SAMPLES  # frames of speech in a row that begin an onset or end a pause
LONGEST_AFTERGLOW = 2 * FRAME_SAMPLES  # how long a detector may take silence for speech after the last of it
HYSTERESIS = 0.15  # a frame this much less likely than the threshold is silence; between them it is neither
PATIENCE = {"low": 1.5, "medium": 1.0, "auto": 1.0, "high": 0.75}  # what an eagerness does to every hold

type EndReason = Literal["semantic", "silence", "timeout", "commit", "length"]


# -- what is told ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpeechOnset:
    """The first evidence of speech: the reply falls silent and an exchange opens. ``at`` is its first sample."""

    at: int


@dataclass(frozen=True, slots=True)
class SpeechDoubtful:
    """A word too short to interrupt by its length fell into the reply: "stop", or "uh-huh"?

    Whoever can read it calls `Endpointer.confirm` or `Endpointer.reject`; without an answer it is dropped.
    """

    speech_end: int


@dataclass(frozen=True, slots=True)
class SpeechDropped:
    """The onset was no turn (a cough, a click), or the turn was cleared: the reply goes on where it fell silent."""

    at: int


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The onset at ``at`` is a turn, and a real interruption."""

    at: int


@dataclass(frozen=True, slots=True)
class SpeechPaused:
    """A candidate end of the turn; ``speech_end`` is where its last sound ends."""

    speech_end: int


@dataclass(frozen=True, slots=True)
class SpeechResumed:
    """The user goes on after a pause or a doubt: what was begun for it is rolled back."""

    at: int


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The turn is over. ``at`` minus ``speech_end`` is the endpoint wait.

    ``reason`` is "semantic" (sound and words seemed complete), "silence" (its hold ran out), "timeout" (nobody
    judged the pause within the longest hold), "length" (the longest turn) or "commit" (the client said so).
    """

    speech_end: int
    at: int
    reason: EndReason


type EndpointSignal = (
    SpeechOnset | SpeechDoubtful | SpeechDropped | SpeechStarted | SpeechPaused | SpeechResumed | TurnEnded
)


@dataclass(frozen=True, slots=True)
class EndpointerStatistics:
    """How often each signal was given."""

    onsets: int
    doubts: int
    drops: int
    turns: int
    pauses: int
    resumes: int
    ends: int


# -- what is set -----------------------------------------------------------------------------------------------------


class EndpointerSettings(BaseModel):
    """When a turn begins and ends.

    Holds count from the last sample of speech, and are over with the first frame that ends no earlier. All else is
    rounded up to whole frames.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["semantic", "silence", "manual"] = "semantic"  # "manual": the client says when, nothing is signalled
    eagerness: Literal["low", "medium", "auto", "high"] = "auto"  # scales the holds of the semantic mode

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.5  # a frame at least this likely is speech
    minimum_speech_ms: PositiveInt = 160  # of speech frames: a turn
    minimum_interruption_ms: PositiveInt = 512  # of speech frames: a turn while the caller hears a reply
    pause_ms: PositiveInt = 64  # of silence frames: a pause
    lull_ms: PositiveInt = 192  # without a speech frame: also a pause, and the end of an onset
    doubt_ms: PositiveInt = 700  # how long a doubtful word waits to be confirmed
    maximum_turn_sec: Annotated[float, Field(gt=0, le=600)] = 30.0

    silence_ms: PositiveInt = 500  # the one hold of the silence mode

    certain_text: Annotated[float, Field(gt=0, le=1)] = 0.3  # words this likely to end a sentence count in full
    complete_score: Annotated[float, Field(ge=0, le=2)] = 1.05  # of sound and words together, from 0 to 2
    incomplete_score: Annotated[float, Field(ge=0, le=2)] = 0.8
    complete_hold_ms: PositiveInt = 256  # from the complete score on
    unsure_hold_ms: PositiveInt = 640  # between the two scores, or where only the sound or the words were judged
    incomplete_hold_ms: PositiveInt = 1200  # below the incomplete score
    maximum_hold_ms: PositiveInt = 2000  # nothing was judged

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        self._check_order("minimum_speech_ms", "minimum_interruption_ms")
        self._check_order("pause_ms", "lull_ms", "doubt_ms")
        self._check_order("complete_hold_ms", "unsure_hold_ms", "incomplete_hold_ms", "maximum_hold_ms")
        self._check_order("lull_ms", "maximum_hold_ms")
        self._check_order("incomplete_score", "complete_score")
        return self

    def _check_order(self, *names: str) -> None:
        values = [getattr(self, name) for name in names]
        if values != sorted(values):
            raise ValueError(f"expected {' <= '.join(names)}, got {values}")


class _Hold(NamedTuple):
    """How long a pause must last to end the turn, and what is then to blame."""

    samples: int
    reason: EndReason


class _Limits:
    """The settings in samples of whole frames."""

    def __init__(self, settings: EndpointerSettings) -> None:
        patience = PATIENCE[settings.eagerness]
        self.minimum_speech = _samples(settings.minimum_speech_ms)
        self.minimum_interruption = _samples(settings.minimum_interruption_ms)
        self.pause = _samples(settings.pause_ms)
        self.lull = _samples(settings.lull_ms)
        self.doubt = _samples(settings.doubt_ms)
        self.turn = _samples(settings.maximum_turn_sec * 1000)
        self.silence = _hold(settings.silence_ms, "silence")
        self.complete = _hold(settings.complete_hold_ms * patience, "semantic")
        self.unsure = _hold(settings.unsure_hold_ms * patience, "silence")
        self.incomplete = _hold(settings.incomplete_hold_ms * patience, "silence")
        self.unknown = _hold(settings.maximum_hold_ms * patience, "timeout")


def _hold(duration_ms: float, reason: EndReason) -> _Hold:
    return _Hold(round(duration_ms * SPEECH_SAMPLE_RATE / 1000), reason)


def _samples(duration_ms: float) -> int:
    return ceil(duration_ms / FRAME_MS) * FRAME_SAMPLES


# -- who decides -----------------------------------------------------------------------------------------------------


class _State(Enum):
    IDLE = auto()
    ONSET = auto()  # speech, but not yet long enough
    DOUBT = auto()  # it ended between the minimum for a turn and the one for an interruption
    SPEAKING = auto()
    PAUSED = auto()


class Endpointer:
    """Follows one caller's turns. Every method that returns signals returns them in the order they happened.

    Set ``replying`` from the decision to reply until the last sample was heard, also while it is paused: an onset
    that begins meanwhile needs ``minimum_interruption_ms`` to become a turn by itself.
    """

    def __init__(self, settings: EndpointerSettings, *, position: int = 0) -> None:
        self._settings = settings
        self._limits = _Limits(settings)
        self._silence_below = max(settings.threshold - HYSTERESIS, settings.threshold / 2)
        self.replying = False
        self._counts: Counter[type[EndpointSignal]] = Counter()

        self._position = position
        self._last_speech = position  # end of the latest speech frame
        self._last_sound = position  # end of the latest sound, whatever it was
        self._silence = 0  # in silence frames since then
        self._run = 0  # in speech frames with no silence frame between them
        self._run_at = position

        self._state = _State.IDLE
        self._onset_at = position
        self._spoken = 0  # in speech frames since the onset
        self._minimum = 0  # of them, for this onset to be a turn
        self._speech_end = position  # of the pause or doubt that is open
        self._audio: float | None = None  # how complete the turn sounds, and its words are, at that point
        self._text: float | None = None

    @property
    def position(self) -> int:
        """Samples fed so far."""
        return self._position

    @property
    def in_turn(self) -> bool:
        """Whether an onset or a turn is open."""
        return self._state is not _State.IDLE

    def statistics(self) -> EndpointerStatistics:
        return EndpointerStatistics(
            onsets=self._counts[SpeechOnset],
            doubts=self._counts[SpeechDoubtful],
            drops=self._counts[SpeechDropped],
            turns=self._counts[SpeechStarted],
            pauses=self._counts[SpeechPaused],
            resumes=self._counts[SpeechResumed],
            ends=self._counts[TurnEnded],
        )

    # what is heard

    def feed(self, probability: float, *, sound: int = FRAME_SAMPLES) -> list[EndpointSignal]:
        """Take the next frame's probability of speech; anything that is not a number counts as silence.

        ``sound`` is how many of its samples, from the beginning, are louder than silence.
        """
        self._position += FRAME_SAMPLES
        if sound:
            self._last_sound = self._position - FRAME_SAMPLES + sound
        if self._settings.mode == "manual":
            return []
        self._listen(probability)
        return self._tell(self._step())

    def _listen(self, probability: float) -> None:
        if probability >= self._settings.threshold:
            self._hear_speech()
        elif isnan(probability) or probability < self._silence_below:
            self._silence += FRAME_SAMPLES
            self._run = 0
        if self._since_speech >= self._limits.lull:
            self._run = 0

    def _hear_speech(self) -> None:
        if not self._run:
            self._run_at = self._position - FRAME_SAMPLES
        self._run += FRAME_SAMPLES
        self._spoken += FRAME_SAMPLES
        self._silence = 0
        self._last_speech = self._position

    @property
    def _end_of_speech(self) -> int:
        """Where the last sound of the last frames of speech ends.

        A detector takes silence for speech for a while after the last of it. Where it is sure for longer than that
        of what is next to silent, somebody whispers.
        """
        return min(self._last_speech, max(self._last_sound, self._last_speech - LONGEST_AFTERGLOW))

    @property
    def _since_speech(self) -> int:
        return self._position - self._last_speech

    def score_audio(self, completeness: float) -> None:
        """How complete the turn sounds. Counts for the pause or doubt that is open, from the next frame on."""
        self._audio = float(completeness)

    def score_text(self, completeness: float) -> None:
        """How complete the turn's words are. Counts for the pause or doubt that is open, from the next frame on."""
        self._text = float(completeness)

    # what the owner says

    def confirm(self) -> list[EndpointSignal]:
        """The doubtful word is a turn. If it was the whole turn, its pause has been running since it ended."""
        return self._tell(self._confirm())

    def _confirm(self) -> Iterator[EndpointSignal]:
        if self._state is _State.ONSET:
            yield self._start()
        elif self._state is _State.DOUBT:
            yield self._start()
            yield self._pause()

    def reject(self) -> list[EndpointSignal]:
        """The doubtful word is no turn. Ignored when the user has gone on speaking since."""
        return self._tell([self._drop()] if self._state is _State.DOUBT else [])

    def clear(self) -> list[EndpointSignal]:
        """Forget the turn that is open, if one is."""
        signals = [self._drop()] if self.in_turn else []
        self._rest()
        return self._tell(signals)

    def commit(self) -> list[EndpointSignal]:
        """End the turn that is open, if one is, without waiting."""
        return self._tell(self._commit())

    def _commit(self) -> Iterator[EndpointSignal]:
        if self._state in (_State.ONSET, _State.DOUBT):
            yield self._start()
        if self.in_turn:
            yield self._end("commit")

    def _tell(self, signals: Iterable[EndpointSignal]) -> list[EndpointSignal]:
        told = list(signals)
        self._counts.update(type(signal) for signal in told)
        return told

    # one frame in each state

    def _step(self) -> Iterator[EndpointSignal]:
        match self._state:
            case _State.IDLE:
                return self._idle()
            case _State.ONSET:
                return self._onset()
            case _State.DOUBT:
                return self._doubt()
            case _State.SPEAKING:
                return self._speaking()
            case _State.PAUSED:
                return self._paused()

    def _idle(self) -> Iterator[EndpointSignal]:
        if self._run >= SPEECH_FRAMES:
            yield self._open()
            yield from self._onset()

    def _onset(self) -> Iterator[EndpointSignal]:
        if self._spoken >= self._minimum:
            yield self._start()
        elif self._spoken >= self._limits.minimum_speech and self._quiet:
            yield self._ask()
        elif self._since_speech >= self._limits.lull:
            yield self._drop()

    def _doubt(self) -> Iterator[EndpointSignal]:
        if self._run >= SPEECH_FRAMES:
            yield self._resume(_State.ONSET)
            yield from self._onset()
        elif not self._run and self._waited >= self._limits.doubt:
            yield self._drop()

    def _speaking(self) -> Iterator[EndpointSignal]:
        if self._too_long:
            yield self._end("length")
        elif self._quiet:
            self._open_pause()
            yield self._pause()
            yield from self._paused()

    def _paused(self) -> Iterator[EndpointSignal]:
        hold = self._hold()
        if self._too_long:
            yield self._end("length")
        elif self._run >= SPEECH_FRAMES:
            yield self._resume(_State.SPEAKING)
        elif not self._run and self._waited >= hold.samples:
            yield self._end(hold.reason)

    def _hold(self) -> _Hold:
        if self._settings.mode == "silence":
            return self._limits.silence
        match self._audio, self._text:
            case None, None:
                return self._limits.unknown
            case float(audio), float(text):
                return self._judge(audio + min(text / self._settings.certain_text, 1))
            case _:
                return self._limits.unsure

    def _judge(self, completeness: float) -> _Hold:
        if completeness >= self._settings.complete_score:
            return self._limits.complete
        if completeness >= self._settings.incomplete_score:
            return self._limits.unsure
        return self._limits.incomplete

    @property
    def _quiet(self) -> bool:
        """Silence for the length of a pause, or probabilities that hover below speech for longer than that."""
        return self._silence >= self._limits.pause or self._since_speech >= self._limits.lull

    @property
    def _waited(self) -> int:
        return self._position - self._speech_end

    @property
    def _too_long(self) -> bool:
        return self._position - self._onset_at >= self._limits.turn

    # from state to state

    def _open(self) -> SpeechOnset:
        limits = self._limits
        self._state = _State.ONSET
        self._onset_at = self._run_at
        self._spoken = self._run
        self._minimum = limits.minimum_interruption if self.replying else limits.minimum_speech
        return SpeechOnset(self._onset_at)

    def _ask(self) -> SpeechDoubtful:
        self._state = _State.DOUBT
        self._open_pause()
        return SpeechDoubtful(self._speech_end)

    def _start(self) -> SpeechStarted:
        self._state = _State.SPEAKING
        return SpeechStarted(self._onset_at)

    def _pause(self) -> SpeechPaused:
        self._state = _State.PAUSED
        return SpeechPaused(self._speech_end)

    def _resume(self, state: _State) -> SpeechResumed:
        self._state = state
        return SpeechResumed(self._run_at)

    def _drop(self) -> SpeechDropped:
        self._rest()
        return SpeechDropped(self._position)

    def _end(self, reason: EndReason) -> TurnEnded:
        speech_end = self._speech_end if self._state is _State.PAUSED else self._end_of_speech
        self._rest()
        return TurnEnded(speech_end, self._position, reason)

    def _rest(self) -> None:
        self._state = _State.IDLE
        self._run = 0

    def _open_pause(self) -> None:
        """What was scored before was about something else."""
        self._speech_end = self._end_of_speech
        self._audio = None
        self._text = None
