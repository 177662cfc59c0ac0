"""Runs the sides by turns, so that whatever else the machine does meets them all, and keeps what the clock said."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import NamedTuple

from deployments.engine.bench.memory_peak import MemoryPeak
from deployments.engine.bench.operations import OperationCounter
from deployments.engine.bench.side import Clock, Side


class Rhythm(NamedTuple):
    """How a reply goes: so many tokens, then so many frames, and tokens again."""

    text_run: int
    audio_run: int


class AudioStep(NamedTuple):
    """One audio step on some clock: seconds, or operations."""

    codes: float
    sound: float


@dataclass(slots=True, kw_only=True)
class TurnTimes:
    """One turn of a side, as the clock saw it."""

    first_text_sec: float  # from the request to the first token
    first_position: int
    text_sec: list[float] = field(default_factory=list)  # each further text step
    audio_sec: list[AudioStep] = field(default_factory=list)
    first_audio_sec: float = 0.0  # from the request to the samples of the first frame
    last_position: int = 0
    grown_bytes: int = 0  # by which the memory in use grew while it ran

    def cycle_sec(self, rhythm: Rhythm, *, sound: bool) -> float:
        """One whole cycle of tokens and frames, with or without the making of sound."""
        frame_sec = fmean(sum(step) if sound else step.codes for step in self.audio_sec)
        return rhythm.text_run * fmean(self.text_sec) + rhythm.audio_run * frame_sec


@dataclass(frozen=True, slots=True)
class StepOperations:
    """What one step of each kind launches."""

    text: int
    audio: AudioStep
    text_syncs: int
    audio_syncs: int


def alternate(
    sides: Sequence[Side], rhythm: Rhythm, *, rounds: int, least_rounds: int, seconds: float, cycles: int
) -> Iterator[TurnTimes]:
    """A turn of each side, in their order, again and again.

    Of ``rounds`` none begins after ``seconds``, but ``least_rounds`` are run whatever they take.
    """
    began = time.perf_counter()
    for number in range(rounds):
        if number >= least_rounds and time.perf_counter() - began > seconds:
            return
        for side in sides:
            yield measure_turn(side, rhythm, cycles=cycles)


def measure_turn(side: Side, rhythm: Rhythm, *, cycles: int) -> TurnTimes:
    """One turn of ``side``, as many cycles long."""
    clock = side.clock
    with MemoryPeak() as peak:
        times = TurnTimes(first_text_sec=elapsed(side.begin, clock), first_position=side.positions)
        for text_steps in (rhythm.text_run - 1, *[rhythm.text_run] * (cycles - 1)):
            times.text_sec += [elapsed(side.text_step, clock) for _ in range(text_steps)]
            times.audio_sec += [audio_step(side, clock) for _ in range(rhythm.audio_run)]
    times.first_audio_sec = times.first_text_sec + sum(times.text_sec[: rhythm.text_run - 1]) + sum(times.audio_sec[0])
    times.last_position, times.grown_bytes = side.positions, peak.grown_bytes
    side.end()
    return times


def count_operations(side: Side, rhythm: Rhythm) -> StepOperations:
    """What a step of each kind launches, in the middle of a turn of ``side``."""
    side.begin()
    for _ in range(rhythm.text_run - 2):
        side.text_step()
    with OperationCounter() as text:
        side.text_step()
    side.audio_step()
    clock = side.clock
    with OperationCounter() as audio:
        side.clock = lambda: audio.launched
        step = audio_step(side, side.clock)
    side.clock = clock
    side.end()
    return StepOperations(text.launched, step, text.host_syncs, audio.host_syncs)


def audio_step(side: Side, clock: Clock) -> AudioStep:
    began = clock()
    sound = side.audio_step()
    return AudioStep(clock() - began - sound, sound)


def elapsed(work: Callable[[], object], clock: Clock) -> float:
    began = clock()
    work()
    return clock() - began
