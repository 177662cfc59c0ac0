"""How long a step will take, before it is run: a linear model, fitted to steps that were timed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from deployments.engine.sequence import Modality, Sequence, StepPlan

type Matrix = NDArray[np.float64]  # [observations, coefficients]
type Vector = NDArray[np.float64]

ROUNDS = 12  # of weighing outliers down; the weights settle in fewer
CORRECTION_HALF_LIFE_SEC = 2.0  # of work: after so much, half of a lasting change of speed is believed
CORRECTION_RANGE = (0.5, 4.0)  # beyond it the steps that the model was fitted to were the wrong ones


@dataclass(frozen=True, slots=True)
class StepWork:
    """What a step's time depends on, summed over its rows."""

    rows: int = 0  # sequences that decode one position
    context: int = 0  # positions of keys and values that they read
    frame_rows: int = 0  # of the rows: those that make a frame of sound
    prefill: int = 0  # positions of prompts
    speech_sec: float = 0.0  # seconds of speech to be encoded

    def with_row(self, sequence: Sequence) -> StepWork:
        return StepWork(
            self.rows + 1,
            self.context + sequence.positions + 1,
            self.frame_rows + (sequence.modality is Modality.AUDIO),
            self.prefill,
            self.speech_sec,
        )

    def with_prefill(self, positions: int) -> StepWork:
        return StepWork(self.rows, self.context, self.frame_rows, self.prefill + positions, self.speech_sec)

    def with_speech(self, speech_sec: float) -> StepWork:
        return StepWork(self.rows, self.context, self.frame_rows, self.prefill, self.speech_sec + speech_sec)


def work_of_rows(sequences: Collection[Sequence]) -> StepWork:
    """The work of decoding one position of each."""
    return StepWork(
        rows=len(sequences),
        context=sum(sequence.positions + 1 for sequence in sequences),
        frame_rows=sum(sequence.modality is Modality.AUDIO for sequence in sequences),
    )


def work_of(plan: StepPlan) -> StepWork:
    work = work_of_rows(plan.decode)
    work = work.with_prefill(sum(chunk.length for chunk in plan.prefill))
    return work.with_speech(sum(sequence.speech_sec for sequence in plan.encode))


@dataclass(frozen=True, slots=True)
class Observation:
    """A step that was run, and the seconds that it took."""

    work: StepWork
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Seconds for each part of a step. What ends in ``base_sec`` is paid once by any step that has such a part."""

    step_base_sec: float = 0.0  # any row decodes
    row_sec: float = 0.0
    context_sec: float = 0.0  # for a position of keys and values read
    frame_base_sec: float = 0.0  # any row makes a frame: depthformer and detokenizer
    frame_row_sec: float = 0.0
    prefill_base_sec: float = 0.0
    prefill_sec: float = 0.0  # for a position
    encode_base_sec: float = 0.0
    encode_sec: float = 0.0  # for a second of speech

    def predict(self, work: StepWork) -> float:
        """Seconds that a step with this work takes."""
        return self.decode(work.rows, work.context, work.frame_rows) + self.prompt(work.prefill, work.speech_sec)

    def decode(self, rows: float, context: float, frame_rows: float) -> float:
        """The part of a step that goes with the sequences in the middle of their reply; all may be averages."""
        if not rows:
            return 0.0
        frames = self.frame_base_sec * min(frame_rows, 1.0) + self.frame_row_sec * frame_rows
        return self.step_base_sec + self.row_sec * rows + self.context_sec * context + frames

    def prompt(self, positions: int, speech_sec: float) -> float:
        """The part of a step that goes with sequences that have not begun."""
        prefill = self.prefill_base_sec + self.prefill_sec * positions if positions else 0.0
        return prefill + (self.encode_base_sec + self.encode_sec * speech_sec if speech_sec else 0.0)

    @classmethod
    def fit(cls, observations: Iterable[Observation]) -> Self:
        """The model that comes closest to most of the observations, with no part that takes less than no time.

        Least squares, with observations far off (a pause of the machine) weighed down until they hardly count. What no
        observation has in it costs nothing.

        Raises:
            ValueError: there is no observation.
        """
        seen = list(observations)
        if not seen:
            raise ValueError("a cost model needs at least one timed step, got none")
        features = np.array([_features(observation.work) for observation in seen])
        seconds = np.array([observation.seconds for observation in seen])
        names = [field.name for field in fields(cls)]
        return cls(**dict(zip(names, map(float, _robust_fit(features, seconds)), strict=True)))


def _features(work: StepWork) -> tuple[float, ...]:
    """What each coefficient is multiplied by, in the order of the fields of `CostModel`."""
    return (
        float(work.rows > 0),
        work.rows,
        work.context,
        float(work.frame_rows > 0),
        work.frame_rows,
        float(work.prefill > 0),
        work.prefill,
        float(work.speech_sec > 0),
        work.speech_sec,
    )


def _robust_fit(features: Matrix, seconds: Vector) -> Vector:
    """Iteratively reweighted least squares with Huber's weights (Huber, "Robust Statistics", 1981)."""
    weights = np.ones_like(seconds)
    coefficients = np.zeros(features.shape[1])
    for _ in range(ROUNDS):
        root = np.sqrt(weights)
        coefficients = _non_negative_fit(features * root[:, None], seconds * root)
        distances = np.abs(seconds - features @ coefficients)
        usual = 1.5 * np.median(distances) + 1e-9
        weights = np.minimum(1.0, usual / np.maximum(distances, 1e-12))
    return coefficients


def _non_negative_fit(features: Matrix, seconds: Vector) -> Vector:
    """Least squares; while a coefficient is negative, the most negative one is set to nothing and the rest refitted."""
    coefficients = np.zeros(features.shape[1])
    scales = np.abs(features).max(axis=0)
    kept = np.flatnonzero(scales)
    while kept.size:
        solution = np.linalg.lstsq(features[:, kept] / scales[kept], seconds, rcond=None)[0]
        if solution.min() >= 0:
            coefficients[kept] = solution / scales[kept]
            break
        kept = np.delete(kept, solution.argmin())
    return coefficients


class Correction:
    """How much slower the machine is now than when the model was fitted: one factor that follows the steps."""

    def __init__(self) -> None:
        self.factor = 1.0

    def observe(self, predicted_sec: float, seconds: float) -> None:
        """Take a step that was predicted, uncorrected, to take ``predicted_sec``. Long steps tell more than short."""
        if predicted_sec <= 0 or seconds <= 0:
            return
        lowest, highest = CORRECTION_RANGE
        ratio = min(max(seconds / predicted_sec, lowest), highest)
        self.factor += (ratio - self.factor) * (1.0 - 0.5 ** (min(seconds, predicted_sec) / CORRECTION_HALF_LIFE_SEC))
