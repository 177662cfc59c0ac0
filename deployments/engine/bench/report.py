"""What was measured: one cell for each model, dtype, side and batch, as tables for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from statistics import median

from rich.table import Table

from deployments.engine.bench.bandwidth import Floor
from deployments.engine.bench.measure import Rhythm, StepOperations, TurnTimes
from deployments.engine.bench.quantiles import Quantiles, quantiles

FRAME_SEC = 0.08
MEBI = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One side with one batch, on one model and dtype."""

    preset: str
    dtype: str
    side: str
    batch: int
    turns: int
    first_position: int  # of context, at the first token
    last_position: int
    first_text_ms: Quantiles  # from the request to the first token
    first_audio_ms: Quantiles  # from the request to the samples of the first frame
    text_ms: Quantiles
    codes_ms: Quantiles  # an audio step without its sound
    sound_ms: Quantiles  # the sound of an audio step
    audio_ms: Quantiles  # both
    cycle_ms: float  # of all sessions together, sound left out; median of the turns
    sounding_cycle_ms: float  # with it
    frames_per_sec: float  # of all sessions together, with their sound
    real_time_factor: float  # of one session, sound and all: below 1 it keeps up with its playing
    gain: float  # per session against stock, serial, sound left out; median of the rounds
    sounding_gain: float
    text_operations: int
    codes_operations: int
    sound_operations: int
    text_syncs: int
    audio_syncs: int
    loaded_mebibytes: int  # weights of this side, and the engine's slots for the largest batch
    working_mebibytes: int  # more than that, at most, while its turns ran
    text_floor_ms: float  # reading the weights takes so long
    codes_floor_ms: float

    @property
    def frames_per_sec_per_session(self) -> float:
        return self.frames_per_sec / self.batch

    @property
    def codes_operations_per_session(self) -> float:
        return self.codes_operations / self.batch

    def as_json(self) -> dict[str, object]:
        quantile_values = {
            name: value._asdict() for name, value in asdict(self).items() if isinstance(value, Quantiles)
        }
        derived = {
            "frames_per_sec_per_session": self.frames_per_sec_per_session,
            "codes_operations_per_session": self.codes_operations_per_session,
        }
        return asdict(self) | quantile_values | derived


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What a cell was measured on."""

    preset: str
    dtype: str
    rhythm: Rhythm
    floor_sec: Floor


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured of one side."""

    name: str
    batch: int
    turns: Sequence[TurnTimes]  # in the order of the rounds
    operations: StepOperations
    loaded_bytes: int


def summarise(model: Model, side: Measured, stock: Measured) -> Cell:
    """The cell of ``side``; stock has a turn in each of the same rounds."""
    rhythm, turns, operations = model.rhythm, side.turns, side.operations
    cycle, sounding_cycle = (median(one.cycle_sec(rhythm, sound=sound) for one in turns) for sound in (False, True))
    return Cell(
        preset=model.preset,
        dtype=model.dtype,
        side=side.name,
        batch=side.batch,
        turns=len(turns),
        first_position=turns[0].first_position,
        last_position=turns[0].last_position,
        first_text_ms=_ms(one.first_text_sec for one in turns),
        first_audio_ms=_ms(one.first_audio_sec for one in turns),
        text_ms=_ms(seconds for one in turns for seconds in one.text_sec),
        codes_ms=_ms(step.codes for one in turns for step in one.audio_sec),
        sound_ms=_ms(step.sound for one in turns for step in one.audio_sec),
        audio_ms=_ms(sum(step) for one in turns for step in one.audio_sec),
        cycle_ms=cycle * 1000,
        sounding_cycle_ms=sounding_cycle * 1000,
        frames_per_sec=side.batch * rhythm.audio_run / sounding_cycle,
        real_time_factor=sounding_cycle / (rhythm.audio_run * FRAME_SEC),
        gain=_gain(rhythm, side, stock, sound=False),
        sounding_gain=_gain(rhythm, side, stock, sound=True),
        text_operations=operations.text,
        codes_operations=int(operations.audio.codes),
        sound_operations=int(operations.audio.sound),
        text_syncs=operations.text_syncs,
        audio_syncs=operations.audio_syncs,
        loaded_mebibytes=side.loaded_bytes // MEBI,
        working_mebibytes=max(one.grown_bytes for one in turns) // MEBI,
        text_floor_ms=model.floor_sec.text * 1000,
        codes_floor_ms=model.floor_sec.audio * 1000,
    )


def _ms(seconds: Iterable[float]) -> Quantiles:
    return quantiles(1000 * value for value in seconds)


def _gain(rhythm: Rhythm, side: Measured, stock: Measured, *, sound: bool) -> float:
    """Compared round by round: what slows the machine for a while slows both."""
    rounds = zip(stock.turns, side.turns, strict=True)
    return side.batch * median(
        theirs.cycle_sec(rhythm, sound=sound) / ours.cycle_sec(rhythm, sound=sound) for theirs, ours in rounds
    )


# -- tables ----------------------------------------------------------------------------------------------------------


def tables(cells: Sequence[Cell]) -> Iterator[Table]:
    """Three for each model and dtype: how long, how much for it, and with how much work."""
    for (preset, dtype), group in groupby(cells, lambda cell: (cell.preset, cell.dtype)):
        members = list(group)
        for fill in (times_table, throughput_table, work_table):
            yield fill(f"{preset}, {dtype}", members)


def times_table(title: str, cells: Sequence[Cell]) -> Table:
    headings = ("TTFT", "TTFA", "text step", "audio step", "of it sound")
    table = _table(f"{title}: times in ms, p50 / p95 / p99", headings)
    table.caption = _caption(cells)
    for cell in cells:
        moments = (_short(value.p50) for value in (cell.first_text_ms, cell.first_audio_ms))
        steps = (" / ".join(map(_short, step)) for step in (cell.text_ms, cell.audio_ms, cell.sound_ms))
        table.add_row(cell.side, str(cell.batch), *moments, *steps)
    return table


def throughput_table(title: str, cells: Sequence[Cell]) -> Table:
    headings = ("frames/s", "each", "RTF", "gain", "with sound", "loaded MiB", "working")
    table = _table(f"{title}: throughput, and the gain per session", headings)
    for cell in cells:
        rates = f"{cell.frames_per_sec:.1f}", f"{cell.frames_per_sec_per_session:.1f}", f"{cell.real_time_factor:.2f}"
        gains = f"{cell.gain:.2f}×", f"{cell.sounding_gain:.2f}×"
        memory = f"{cell.loaded_mebibytes:,}", f"{cell.working_mebibytes:,}"
        table.add_row(cell.side, str(cell.batch), *rates, *gains, *memory)
    return table


def work_table(title: str, cells: Sequence[Cell]) -> Table:
    headings = ("text", "audio", "audio each", "sound", "syncs", "floor ms", "audio")
    table = _table(f"{title}: operations and host syncs per step, and the floor of its time", headings)
    for cell in cells:
        counts = cell.text_operations, cell.codes_operations, cell.codes_operations_per_session, cell.sound_operations
        floors = f"{cell.text_floor_ms:.2f}", f"{cell.codes_floor_ms:.2f}"
        syncs = f"{cell.text_syncs} / {cell.audio_syncs}"
        table.add_row(cell.side, str(cell.batch), *(f"{value:,.0f}" for value in counts), syncs, *floors)
    return table


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.add_column("side", no_wrap=True)
    for heading in ("B", *headings):
        table.add_column(heading, justify="right")
    return table


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _caption(cells: Sequence[Cell]) -> str:
    first, turns = cells[0], min(cell.turns for cell in cells)
    return f"turns of each: {turns}; positions filled: {first.first_position} to {first.last_position}"
