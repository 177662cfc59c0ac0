"""What came of a step: what was sampled for each sequence, and who failed."""

from __future__ import annotations

from dataclasses import dataclass, field

from deployments.engine.sequence import Sequence
from routing.turns import Samples


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """What a step made for one sequence: a token, or a frame of codes with the samples that can be heard by now."""

    sequence: Sequence
    token: int | None = None
    codes: tuple[int, ...] | None = None
    samples: Samples | None = None  # [n] float32 at 24 kHz; None for the frame that ends the sound


@dataclass(frozen=True, slots=True, eq=False)
class Fault:
    """A sequence whose work failed, and why. It ends; the others of the step go on."""

    sequence: Sequence
    error: BaseException


@dataclass(slots=True, eq=False)
class StepOutcome:
    """What came of a plan. ``encode_sec`` is the part of the step that went into the callers' speech.

    ``settled`` are those whose slots were saved at the end of what happened before their turns.
    """

    sampled: list[Sampled] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    settled: list[Sequence] = field(default_factory=list)
    encode_sec: float = 0.0

    def failed(self) -> set[int]:
        return {fault.sequence.key for fault in self.faults}
