"""Runs and times steps of each kind before anybody waits for them: admission and schedule predict by these times."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import batched, product
from time import perf_counter

import numpy as np

from deployments.engine.cost_model import CostModel, Observation, work_of
from deployments.engine.prompt import Dialogue, Mode, SpeechPiece
from deployments.engine.runner import Runner
from deployments.engine.sequence import Modality, PrefillChunk, Sequence, StepPlan
from deployments.engine.sessions import Lease, SessionTable
from deployments.engine.settings import EngineSettings
from routing.turns import SPEECH_SAMPLE_RATE

REPETITIONS = 3
SPEECH_SEC = (0.5, 4.0)  # of the clips that are encoded
LONG_CONTEXT = 1024  # positions: what a conversation of a minute has


def measure_costs(runner: Runner, sessions: SessionTable, settings: EngineSettings) -> CostModel:
    """Time steps of every kind on the engine's own slots, which are free again afterwards."""
    runner.record(settings.sampling)
    warm_up = _WarmUp(runner, sessions, settings)
    return CostModel.fit([*warm_up.prompts(), *warm_up.decodes()])


class _WarmUp:
    def __init__(self, runner: Runner, sessions: SessionTable, settings: EngineSettings) -> None:
        self._runner = runner
        self._sessions = sessions
        self._settings = settings
        self._noise = np.random.default_rng(0)

    def prompts(self) -> Iterator[Observation]:
        """Encoding and prefilling of clips of several lengths, one at a time; the first of each is not counted."""
        lengths = [min(seconds, self._settings.maximum_speech_sec) for seconds in SPEECH_SEC]
        for seconds, repetition in product(lengths, range(REPETITIONS + 1)):
            sequence, lease = self._begin("prompt", seconds)
            plans = [StepPlan(encode=(sequence,)), *map(_prefill, self._chunks(sequence))]
            observed = [self._timed(plan) for plan in plans]
            self._end([(sequence, lease)])
            if repetition:
                yield from observed

    def decodes(self) -> Iterator[Observation]:
        """Tokens and frames, for one and for many at a time, with little and with much to look back at."""
        most = self._settings.scheduler.maximum_running
        begun = [self._begin(f"decode {row}", SPEECH_SEC[0]) for row in range(most)]
        longest = min(LONG_CONTEXT, self._settings.slot_positions - 1)
        for rows, context, modality in product({1, (most + 1) // 2, most}, (16, longest), Modality):
            sequences = tuple(sequence for sequence, _ in begun[:rows])
            for sequence in sequences:
                sequence.context_positions, sequence.modality = context, modality
            yield from [self._timed(StepPlan(decode=sequences)) for _ in range(REPETITIONS + 1)][1:]
        self._end(begun)

    def _begin(self, name: str, seconds: float) -> tuple[Sequence, Lease]:
        noise = self._noise.normal(0, 0.1, round(seconds * SPEECH_SAMPLE_RATE)).astype(np.float32)
        dialogue = Dialogue(mode=Mode.INTERLEAVED, system="", question=SpeechPiece(noise))
        lease = self._sessions.begin(name, dialogue, now=0.0)
        sequence = Sequence(
            key=-1 - lease.slot,  # the engine's own are never negative
            slot=lease.slot,
            prompt_positions=lease.prompt_positions,
            speech_sec=seconds,
            maximum_steps=1,
            arrived_at=0.0,
        )
        self._runner.begin(sequence, lease, self._settings.sampling, seed=0)
        return sequence, lease

    def _chunks(self, sequence: Sequence) -> Iterator[PrefillChunk]:
        for positions in batched(range(sequence.prompt_positions), self._settings.scheduler.prefill_chunk):
            yield PrefillChunk(sequence, positions[0], len(positions))

    def _timed(self, plan: StepPlan) -> Observation:
        began = perf_counter()
        outcome = self._runner.run(plan)
        seconds = perf_counter() - began
        if outcome.faults:
            raise outcome.faults[0].error
        return Observation(work_of(plan), seconds)

    def _end(self, begun: list[tuple[Sequence, Lease]]) -> None:
        for sequence, lease in begun:
            self._runner.end(sequence)
            self._sessions.discard(lease, now=0.0)


def _prefill(chunk: PrefillChunk) -> StepPlan:
    return StepPlan(prefill=(chunk,))
