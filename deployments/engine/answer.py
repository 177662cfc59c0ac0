"""One reply on its way: from the question to the last sample, seen from the engine's thread and from the event loop."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field

from deployments.engine.alternation import Alternation
from deployments.engine.prompt import Dialogue, Mode
from deployments.engine.reply_stream import ReplyStream
from deployments.engine.sequence import Modality, Sequence
from deployments.engine.sessions import Ending, Lease
from deployments.engine.settings import SamplingSettings
from deployments.engine.vocabulary import TextStream
from routing.errors import InvalidRequest
from routing.turns import REPLY_SAMPLE_RATE, AudioChunk, ReplyEnd, ReplyEvent, Samples, TextDelta, Turn


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """What the engine is asked.

    Args:
        speech: what the caller said, float32 ``[n]`` at 16 kHz; None where the question is the end of the history
        sampling: how tokens and codes are chosen; None takes the engine's own settings
        seed: the same question with the same seed has the same answer, whoever shares the batch
    """

    turn: Turn
    speech: Samples | None = None
    sampling: SamplingSettings | None = None
    seed: int = 0


@dataclass(slots=True)
class Marks:
    """When the phases of a reply ended, in seconds on the engine's clock; None for those that did not."""

    asked: float
    started: float | None = None
    prefilled: float | None = None
    first_text: float | None = None
    first_audio: float | None = None
    ended: float | None = None
    encode_sec: float = 0.0

    def timings_ms(self) -> Mapping[str, float]:
        """Each phase that took place, by its name, in the order of the work. Together they are the whole time."""
        encoded = None if self.started is None else self.started + self.encode_sec
        moments = {
            "queue": self.started,
            "encode": encoded,
            "prefill": self.prefilled,
            "first_text": self.first_text,
            "first_audio": self.first_audio,
            "rest": self.ended,
        }
        passed = {name: moment for name, moment in moments.items() if moment is not None}
        begins = [self.asked, *passed.values()]
        return {name: (end - begin) * 1000 for begin, (name, end) in zip(begins, passed.items(), strict=False)}


@dataclass(slots=True, eq=False, kw_only=True)
class Answer:
    """A reply that was asked for. `events` is read once; `release` lets it be heard; `close` ends it at any time.

    Closed before its release, it never was: the session goes back to where it stood. Closed after, what was made so
    far belongs to the history, and the next turn's history says how much of it was heard.
    """

    question: Question
    dialogue: Dialogue
    sampling: SamplingSettings
    sequence: Sequence
    alternation: Alternation
    text: TextStream
    changed: Callable[[Answer], None]  # tells the engine of a release or a close
    marks: Marks
    stream: ReplyStream = field(default_factory=ReplyStream)
    lease: Lease | None = None
    ending: Ending | None = None
    closed: bool = False
    heard_sec: float | None = None

    def events(self) -> AsyncGenerator[ReplyEvent]:
        """The events of the reply as they are made, up to `ReplyEnd`.

        Raises:
            BackendError: it could not be made, or not to its end.
        """
        return self.stream.events()

    def release(self) -> None:
        """The turn is over: what was held is heard from now on, and what is made from now on at once.

        A reply that was closed before stays as if it had never been.
        """
        if not self.closed:
            self.sequence.released = True
            self.changed(self)

    def close(self, *, heard_sec: float | None = None) -> None:
        """Nobody wants the rest. Its place is free at once; calling it again does nothing.

        Args:
            heard_sec: how much of the sound of a released reply was heard, where that is known. What came after it is
                taken out of the session's memory, to the frame; otherwise the words of the next turn's history say
                what was heard. May be told when the reply was made long ago and is still being played.

        Raises:
            InvalidRequest: ``heard_sec`` is infinite, or no number.
        """
        if heard_sec is not None:
            if not math.isfinite(heard_sec):
                raise InvalidRequest(f"expected a number of seconds, got {heard_sec}", param="heard_sec")
            self.heard_sec = heard_sec
        self.closed = True
        self.changed(self)

    # -- of the engine's thread ----------------------------------------------------------------------------------------

    def take_token(self, token: int, now: float) -> list[ReplyEvent]:
        """Bring the reply up to date with a token that was sampled for it; what can be read of it by now."""
        self.marks.first_text = self.marks.first_text or now
        verdict = self.alternation.take_token(token)
        if verdict.stop or self._is_over_without_sound:
            self.ending = Ending.COMPLETE
            return []
        words = self.text.feed(token)
        self._keep(token, words)
        return [TextDelta(words)] if words else []

    def take_frame(self, codes: tuple[int, ...], samples: Samples | None, now: float) -> list[ReplyEvent]:
        """The same with a frame; the one that ends the sound has no ``samples`` [n] at 24 kHz."""
        self.alternation.take_frame(codes)
        self._keep(codes, is_silent=samples is None)
        if samples is None:
            return []
        self.marks.first_audio = self.marks.first_audio or now
        self.sequence.frames += 1
        return [AudioChunk(samples, REPLY_SAMPLE_RATE)] if len(samples) else []

    def last_events(self, rest: Samples, now: float) -> list[ReplyEvent]:
        """What is left to say when the reply has ended; ``rest`` is the end of its sound."""
        self.marks.ended = now
        words = self.text.flush()
        if self.lease is not None:
            self.lease.said(words)
        last: list[ReplyEvent] = [TextDelta(words)] if words else []
        if len(rest):
            last.append(AudioChunk(rest, REPLY_SAMPLE_RATE))
        end = ReplyEnd(self.marks.timings_ms(), self.sequence.prompt_positions, self.sequence.steps)
        return [*last, end]

    @property
    def _is_over_without_sound(self) -> bool:
        return self.dialogue.mode is Mode.TEXT and self.alternation.modality is Modality.AUDIO

    def _keep(self, item: int | tuple[int, ...], words: str = "", *, is_silent: bool = False) -> None:
        assert self.lease is not None
        self.lease.emitted(item, words, is_silent=is_silent)
        self.sequence.steps += 1
        self.sequence.modality = self.alternation.modality
        if self.sequence.steps >= self.sequence.maximum_steps:
            self.ending = Ending.CUT
