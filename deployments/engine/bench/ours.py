"""The engine's runner: what the engine steps with, here without its scheduler and with all callers in lock step."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import torch

from deployments.engine.bench.side import Clock
from deployments.engine.bench.sound_watch import SoundWatch
from deployments.engine.checkpoint import open_checkpoint
from deployments.engine.detokenizer import Detokenizer
from deployments.engine.loading import load_runner, new_sessions, pace_of
from deployments.engine.prompt import Dialogue, dialogue_of
from deployments.engine.runner import Runner
from deployments.engine.sequence import Modality, PrefillChunk, Sequence, StepPlan
from deployments.engine.sessions import Ending, Lease, SessionTable
from deployments.engine.settings import EngineSettings, SamplingSettings, SchedulerSettings
from deployments.engine.vocabulary import Vocabulary
from routing.turns import SPEECH_SAMPLE_RATE, Samples, Turn

DTYPE_NAMES: Mapping[torch.dtype, Literal["float32", "bfloat16"]] = {
    torch.float32: "float32",
    torch.bfloat16: "bfloat16",
}
POSITIONS = 2048  # of each slot: the cost of a step depends on those in use
LARGEST_CHUNK = 512  # of a prompt, prefilled at once
ENDLESS = 1 << 20  # steps
NOW = 0.0  # nothing here looks at the time


@dataclass(frozen=True, slots=True, eq=False)
class OurModel:
    """One model with its state. Sides of different batches share it, one at a time."""

    runner: Runner
    sessions: SessionTable
    watch: SoundWatch

    def side(self, batch: int, speech: Samples) -> EngineSide:
        return EngineSide(self, batch, speech)


def engine_settings(
    folder: Path, *, device: torch.device, dtype: torch.dtype, slots: int, running: int
) -> EngineSettings:
    return EngineSettings(
        checkpoint=str(folder),
        device=str(device),
        dtype=DTYPE_NAMES[dtype],
        slots=slots,
        slot_positions=POSITIONS,
        scheduler=SchedulerSettings(
            maximum_running=running, maximum_waiting=slots - running, prefill_chunk=LARGEST_CHUNK
        ),
    )


def load_ours(folder: Path, largest_batch: int, *, device: torch.device, dtype: torch.dtype) -> OurModel:
    """The engine's model in ``folder``, with a slot for each caller of the largest batch."""
    settings = engine_settings(folder, device=device, dtype=dtype, slots=largest_batch, running=largest_batch)
    checkpoint = open_checkpoint(folder)
    watches: list[SoundWatch] = []

    def watched(detokenizer: Detokenizer) -> Detokenizer:
        watches.append(SoundWatch(detokenizer))
        return watches[0]

    runner = load_runner(checkpoint, settings, watch=watched)
    runner.record(settings.sampling)
    sessions = new_sessions(Vocabulary(checkpoint.tokenizer), runner, settings, pace_of(checkpoint, runner))
    return OurModel(runner, sessions, watches[0])


class EngineSide:
    """As many callers as the batch has, each in a session of its own that says something for the first time."""

    name: Final = "engine"

    def __init__(self, model: OurModel, batch: int, speech: Samples) -> None:
        self.batch: Final = batch
        self._model = model
        self._speech = speech
        self._keys = itertools.count()
        self._replies: list[tuple[Sequence, Lease]] = []

    @property
    def clock(self) -> Clock:
        return self._model.watch.clock

    @clock.setter
    def clock(self, clock: Clock) -> None:
        self._model.watch.clock = clock

    @property
    def positions(self) -> int:
        return self._sequences[0].positions

    @property
    def _sequences(self) -> tuple[Sequence, ...]:
        return tuple(sequence for sequence, _ in self._replies)

    def begin(self) -> None:
        turn = Turn(session_id="", turn_id="", index=0)
        self._replies = [self._reply(dialogue_of(turn, self._speech)) for _ in range(self.batch)]
        prefill = tuple(PrefillChunk(one, 0, one.prompt_positions) for one in self._sequences)
        self._run(StepPlan(encode=self._sequences, prefill=prefill))
        for one in self._sequences:
            one.encoded, one.prefilled = True, one.prompt_positions

    def text_step(self) -> None:
        self._step(Modality.TEXT)

    def audio_step(self) -> float:
        spent = self._model.watch.spent
        self._step(Modality.AUDIO)
        for one in self._sequences:
            one.frames += 1
        return self._model.watch.spent - spent

    def end(self) -> None:
        for sequence, lease in self._replies:
            self._model.runner.end(sequence)
            self._model.sessions.finish(lease, Ending.CUT, NOW)
            self._model.sessions.forget(str(sequence.key))

    def _reply(self, dialogue: Dialogue) -> tuple[Sequence, Lease]:
        key = next(self._keys)
        lease = self._model.sessions.begin(str(key), dialogue, NOW)
        sequence = Sequence(
            key=key,
            slot=lease.slot,
            prompt_positions=lease.prompt_positions,
            speech_sec=len(self._speech) / SPEECH_SAMPLE_RATE,
            maximum_steps=ENDLESS,
            arrived_at=NOW,
        )
        self._model.runner.begin(sequence, lease, SamplingSettings(), key)
        return sequence, lease

    def _step(self, modality: Modality) -> None:
        for one in self._sequences:
            one.modality = modality
        self._run(StepPlan(decode=self._sequences))

    def _run(self, plan: StepPlan) -> None:
        for fault in self._model.runner.run(plan).faults:
            raise fault.error
        for one in self._sequences:
            one.steps += 1
