"""One reply in the making: what the scheduler plans with, the runner runs, and the engine keeps up to date."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum


class Modality(Enum):
    """Which head speaks next."""

    TEXT = "text"
    AUDIO = "audio"


@dataclass(frozen=True, slots=True)
class Pace:
    """How a reply goes: ``text_run`` tokens, ``audio_run`` frames of ``frame_sec`` seconds, and so on."""

    frame_sec: float
    text_run: int
    audio_run: int

    @property
    def step_budget_sec(self) -> float:
        """How long a step may take so that sound is made as fast as it is played."""
        return self.frame_sec * self.audio_run / (self.text_run + self.audio_run)

    def steps_in(self, seconds: float) -> int:
        """Tokens and frames of a reply with so much sound."""
        cycles = seconds / (self.frame_sec * self.audio_run)
        return math.ceil(cycles * (self.text_run + self.audio_run))


@dataclass(slots=True, eq=False, kw_only=True)
class Sequence:
    """One reply, from its request to its end. Times are seconds on the engine's clock.

    The scheduler reads it and never writes it, but for ``admitted_at``; the engine writes the progress after each step.
    """

    key: int
    slot: int  # the row of the static state that holds its session
    prompt_positions: int  # to be prefilled before the first token
    speech_sec: float  # of the caller's speech, to be encoded before that; 0 for a typed turn
    maximum_steps: int  # tokens and frames together
    arrived_at: float
    context_positions: int = 0  # that the session had in its slot before this turn

    admitted_at: float | None = None
    encoded: bool = False
    prefilled: int = 0
    steps: int = 0  # tokens and frames sampled
    frames: int = 0  # frames of sound made
    modality: Modality = Modality.TEXT
    released: bool = False  # the turn is over and its sound may be heard; before that it is held
    playing_since: float | None = None  # when the caller began to hear it
    finished: bool = False

    @property
    def has_prompt_left(self) -> bool:
        return self.prefilled < self.prompt_positions

    @property
    def has_speech_left(self) -> bool:
        return self.speech_sec > 0 and not self.encoded

    @property
    def is_first(self) -> bool:
        """Nothing of this reply can be heard yet: every step of it is a step that somebody waits for."""
        return self.frames == 0

    @property
    def positions(self) -> int:
        """Positions of its slot that are in use once everything planned so far was run."""
        return self.context_positions + self.prefilled + max(self.steps - 1, 0)

    def buffered_sec(self, now: float, frame_sec: float) -> float:
        """Seconds of sound that are made and not yet played; negative when the caller has been waiting for sound."""
        played_sec = 0.0 if self.playing_since is None else now - self.playing_since
        return self.frames * frame_sec - played_sec


@dataclass(frozen=True, slots=True, eq=False)
class PrefillChunk:
    """``length`` positions of a sequence's prompt, from ``start`` of the prompt on."""

    sequence: Sequence
    start: int
    length: int

    @property
    def is_last(self) -> bool:
        return self.start + self.length == self.sequence.prompt_positions


@dataclass(frozen=True, slots=True, eq=False)
class StepPlan:
    """What one step does, in this order: encode speech, prefill, decode. Heads follow wherever a position is complete.

    A sequence may be encoded and prefilled in the same step; the step of its last chunk samples its first token too.
    """

    encode: tuple[Sequence, ...] = field(default=())
    prefill: tuple[PrefillChunk, ...] = field(default=())
    decode: tuple[Sequence, ...] = field(default=())

    def __bool__(self) -> bool:
        return bool(self.encode or self.prefill or self.decode)
