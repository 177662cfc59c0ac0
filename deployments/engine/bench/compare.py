"""Stock against ours: builds each model, loads both sides of it, and lets them take turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from deployments.engine.bench.bandwidth import floor_bytes, floor_sec
from deployments.engine.bench.material import checkpoint, speech
from deployments.engine.bench.measure import Rhythm, TurnTimes, alternate, count_operations
from deployments.engine.bench.memory_peak import tensor_bytes
from deployments.engine.bench.ours import DTYPE_NAMES, load_ours
from deployments.engine.bench.report import Cell, Measured, Model, summarise
from deployments.engine.bench.side import Side
from deployments.engine.bench.sizes import lack
from deployments.engine.bench.stock import StockSide, load_stock
from deployments.engine.random_checkpoint import PRESETS

RELEASED_RHYTHM = Rhythm(text_run=6, audio_run=12)


@dataclass(frozen=True, slots=True)
class Subject:
    """One model, and what it is computed in."""

    preset: str
    folder: Path
    dtype: torch.dtype

    def __str__(self) -> str:
        return f"{self.preset}, {DTYPE_NAMES[self.dtype]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Whoever wants to know how far it is."""

    tell: Callable[[str], None]  # what is done now
    say: Callable[[str], None]  # what shall stay to be read: what is not done, and why
    advance: Callable[[int], None]  # so many turns of all that the scope has are over, or will never be


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is compared, and for how long."""

    presets: Sequence[str]
    dtypes: Sequence[torch.dtype]
    batches: Sequence[int]
    device: torch.device
    rounds: int
    least_rounds: int
    seconds: float  # for each model and dtype; no further round begins after that
    cycles: int  # of a reply, in each turn
    speech_sec: float
    rhythm: Rhythm = RELEASED_RHYTHM

    @property
    def turns(self) -> int:
        """At most, of all sides together."""
        return len(self.presets) * len(self.dtypes) * self.rounds * (1 + len(self.batches))


def compare(scope: Scope, gigabytes_per_sec: float, listener: Listener) -> Iterator[Cell]:
    """The cells of each model as soon as it was measured."""
    itemsize = max(dtype.itemsize for dtype in scope.dtypes)
    for preset in scope.presets:
        if missing := lack(PRESETS[preset], itemsize):
            listener.say(f"{preset}: skipped, because it {missing}")
            listener.advance(scope.turns // len(scope.presets))
            continue
        with checkpoint(preset, *scope.rhythm, tell=listener.tell) as folder:
            for dtype in scope.dtypes:
                subject = Subject(preset, folder, dtype)
                yield from _compare_sides(scope, subject, gigabytes_per_sec, listener)


def _compare_sides(scope: Scope, subject: Subject, gigabytes_per_sec: float, listener: Listener) -> Iterator[Cell]:
    listener.tell(f"{subject}: loading")
    said, dtype = speech(scope.speech_sec), subject.dtype
    stock, stock_bytes = _loaded(lambda: load_stock(subject.folder, device=scope.device, dtype=dtype))
    ours, our_bytes = _loaded(lambda: load_ours(subject.folder, max(scope.batches), device=scope.device, dtype=dtype))
    sides: list[Side] = [StockSide(stock, said, dtype=dtype), *(ours.side(batch, said) for batch in scope.batches)]
    read = floor_bytes(stock.weights(), codebooks=stock.model.codebooks, itemsize=dtype.itemsize)
    model = Model(
        preset=subject.preset,
        dtype=DTYPE_NAMES[dtype],
        rhythm=scope.rhythm,
        floor_sec=floor_sec(read, gigabytes_per_sec),
    )
    listener.tell(f"{subject}: counting operations")
    operations = [count_operations(side, scope.rhythm) for side in sides]  # which warms all of them up, too
    listener.tell(f"{subject}: taking turns")
    turns = _take_turns(scope, sides, listener)
    measured = [
        Measured(
            name=side.name,
            batch=side.batch,
            turns=own,
            operations=counted,
            loaded_bytes=stock_bytes if index == 0 else our_bytes,
        )
        for index, (side, own, counted) in enumerate(zip(sides, turns, operations, strict=True))
    ]
    yield from (summarise(model, one, measured[0]) for one in measured)


def _loaded[T](load: Callable[[], T]) -> tuple[T, int]:
    """What ``load`` gives, and how many bytes of tensors that is."""
    before = tensor_bytes()
    return load(), tensor_bytes() - before


def _take_turns(scope: Scope, sides: Sequence[Side], listener: Listener) -> list[list[TurnTimes]]:
    """The turns of each side, in the order of the rounds."""
    turns: list[list[TurnTimes]] = [[] for _ in sides]
    rounds = alternate(
        sides,
        scope.rhythm,
        rounds=scope.rounds,
        least_rounds=scope.least_rounds,
        seconds=scope.seconds,
        cycles=scope.cycles,
    )
    for number, times in enumerate(rounds):
        turns[number % len(sides)].append(times)
        listener.advance(1)
    listener.advance((scope.rounds - len(turns[0])) * len(sides))
    return turns
