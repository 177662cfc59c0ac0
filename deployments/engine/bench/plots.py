"""The figures as pictures: throughput and step time against the number of callers, a picture of each for each model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from deployments.engine.bench.conditions import Conditions
from deployments.engine.bench.quantiles import Quantiles
from deployments.engine.bench.report import FRAME_SEC, Cell

INCHES = (7.0, 4.4)
DOTS_PER_INCH = 150
COLOURS = {"float32": "#1f4e79", "bfloat16": "#b5651d"}
GREY = "#666666"


def write_plots(folder: Path, conditions: Conditions, cells: Sequence[Cell]) -> list[Path]:
    """Write two pictures for each model into ``folder``, which is made if need be, and return their files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawers = {"throughput": draw_throughput, "step-time": draw_step_time}
    return [
        write_plot(folder / f"{name}-{preset}.png", draw, f"Model “{preset}”. {conditions}", members)
        for preset, group in groupby(sorted(cells, key=lambda cell: cell.preset), lambda cell: cell.preset)
        for members in [list(group)]
        for name, draw in drawers.items()
    ]


def write_plot(file: Path, draw: Callable[[Any, Sequence[Cell]], None], note: str, cells: Sequence[Cell]) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, layout="constrained")
    axes = figure.subplots()
    batches = sorted({cell.batch for cell in cells})
    axes.set_xticks(batches)
    axes.set_xlabel("callers in the batch")
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes, cells)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.legend(frameon=False, fontsize=8)
    figure.supxlabel(note, fontsize=5.5, color=GREY)
    figure.savefig(file, dpi=DOTS_PER_INCH)
    return file


def draw_throughput(axes: Any, cells: Sequence[Cell]) -> None:
    """Frames per second of all callers together, beside what it takes that none of them hears a gap."""
    axes.set_title("Frames of sound per second, all callers together", loc="left", fontsize=10)
    for dtype, ours, stock in _by_dtype(cells):
        colour = COLOURS.get(dtype, GREY)
        points = [cell.batch for cell in ours], [cell.frames_per_sec for cell in ours]
        axes.plot(*points, "o-", color=colour, label=f"engine, {dtype}")
        axes.axhline(stock.frames_per_sec, color=colour, linestyle=":", label=f"stock, one after another, {dtype}")
    batches = 0, max(cell.batch for cell in cells)
    axes.plot(batches, [batch / FRAME_SEC for batch in batches], color=GREY, linewidth=0.8, label="real time for all")
    axes.set_ylim(top=1.15 * max(cell.frames_per_sec for cell in cells))


def draw_step_time(axes: Any, cells: Sequence[Cell]) -> None:
    """The median of each kind of step, with a band up to the 95th percentile."""
    axes.set_title("Time of a step, ms (median; the band reaches to p95)", loc="left", fontsize=10)
    for dtype, ours, stock in _by_dtype(cells):
        colour = COLOURS.get(dtype, GREY)
        _band(axes, ours, lambda cell: cell.audio_ms, style="o-", color=colour, label=f"engine, audio step, {dtype}")
        _band(axes, ours, lambda cell: cell.text_ms, style="s--", color=colour, label=f"engine, text step, {dtype}")
        axes.axhline(stock.audio_ms.p50, color=colour, linestyle=":", label=f"stock, audio step, {dtype}")


def _band(
    axes: Any, cells: Sequence[Cell], step: Callable[[Cell], Quantiles], *, style: str, color: str, label: str
) -> None:
    batches, steps = [cell.batch for cell in cells], [step(cell) for cell in cells]
    medians, highest = [one.p50 for one in steps], [one.p95 for one in steps]
    axes.plot(batches, medians, style, color=color, label=label, markersize=5)
    axes.fill_between(batches, medians, highest, color=color, alpha=0.12, linewidth=0)


def _by_dtype(cells: Sequence[Cell]) -> Iterator[tuple[str, list[Cell], Cell]]:
    """For each dtype its name, the engine's cells in the order of their batches, and stock's."""
    for dtype in dict.fromkeys(cell.dtype for cell in cells):
        members = [cell for cell in cells if cell.dtype == dtype]
        ours = sorted((cell for cell in members if cell.side != "stock"), key=lambda cell: cell.batch)
        yield dtype, ours, next(cell for cell in members if cell.side == "stock")
