"""The bench on a terminal: a progress bar while it measures, then tables, figures and pictures."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deployments.engine.bench.compare import Listener, Scope, compare
from deployments.engine.bench.conditions import Conditions, conditions
from deployments.engine.bench.endurance import BLOCK, measure_endurance
from deployments.engine.bench.load import Crowd, load_lines, load_table, measure_load
from deployments.engine.bench.material import apart, checkpoint
from deployments.engine.bench.ours import DTYPE_NAMES, engine_settings
from deployments.engine.bench.plots import write_plots
from deployments.engine.bench.report import Cell, tables
from deployments.engine.engine import Engine
from deployments.engine.loading import load_engine
from routing.errors import SettingsError

SLOTS, RUNNING = 24, 16  # of the whole engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where figures and pictures are written; None for nowhere."""

    json: Path | None
    plots: Path | None

    def check(self) -> None:
        """Before anything is measured. Raises SettingsError where they could not be written afterwards."""
        if self.json is not None and not self.json.parent.is_dir():
            raise SettingsError(f"--json expects a file in a folder that exists; got {self.json}")
        if self.plots is not None and importlib.util.find_spec("matplotlib") is None:
            raise SettingsError("--plots needs the package matplotlib, which is not installed")

    def write_json(self, machine: Conditions, figures: Mapping[str, object]) -> list[Path]:
        if self.json is None:
            return []
        self.json.write_text(json.dumps({"conditions": asdict(machine), **figures}, indent=2) + "\n")
        return [self.json]


@dataclass(frozen=True, slots=True)
class Target:
    """What a whole engine is made of."""

    preset: str
    dtype: torch.dtype
    device: torch.device

    def __str__(self) -> str:
        return f"{self.preset}, {DTYPE_NAMES[self.dtype]}"


@contextmanager
def progress(total: int, console: Console) -> Iterator[Listener]:
    """A bar for as long as it takes. It is drawn anew only between turns, for it would take time from the others."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task("", total=total)
        yield Listener(
            tell=lambda text: bar.update(task, description=text, refresh=True),
            say=bar.console.print,
            advance=lambda count: bar.update(task, advance=count, refresh=True),
        )


def _finish(console: Console, written: Sequence[Path]) -> None:
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    console.print(f"\nload average at the end: {load}")
    if written:
        console.print("written: " + ", ".join(map(str, written)))


# -- stock against ours ----------------------------------------------------------------------------------------------


def show_comparison(scope: Scope, files: Files, console: Console) -> None:
    """Measure and show. When interrupted, show the models that are done with, and pass the interruption on."""
    machine = conditions(scope.device)
    console.print(str(machine))
    cells: list[Cell] = []
    try:
        with progress(scope.turns, console) as listener:
            cells.extend(compare(scope, machine.read_gigabytes_per_sec, listener))
    finally:
        if cells:
            _show_cells(machine, cells, files, console)


def _show_cells(machine: Conditions, cells: Sequence[Cell], files: Files, console: Console) -> None:
    for table in tables(cells):
        console.print()
        console.print(table)
    written = [] if files.plots is None else write_plots(files.plots, machine, cells)
    written += files.write_json(machine, {"cells": [cell.as_json() for cell in cells]})
    _finish(console, written)


# -- the whole engine ------------------------------------------------------------------------------------------------


@contextmanager
def whole_engine(target: Target, listener: Listener) -> Iterator[Engine]:
    """A model of random weights with everything around it, warmed up."""
    with checkpoint(target.preset, tell=listener.tell) as folder:
        listener.tell(f"{target.preset}: loading")
        settings = engine_settings(folder, device=target.device, dtype=target.dtype, slots=SLOTS, running=RUNNING)
        engine = load_engine(settings)
        listener.tell(f"{target.preset}: taking turns")
        yield engine


def show_load(target: Target, crowd: Crowd, files: Files, console: Console) -> None:
    """Measure and show how long newcomers wait beside others."""
    machine = apart(lambda: conditions(target.device))
    console.print(f"{target}; {machine}")
    with progress(crowd.idle_turns + crowd.newcomers, console) as listener, whole_engine(target, listener) as engine:
        report = asyncio.run(measure_load(engine, crowd, lambda: listener.advance(1)))
    console.print(load_table(report), *load_lines(report), sep="\n")
    _finish(console, files.write_json(machine, {"load": report.as_json()}))


def show_endurance(target: Target, turns: int, files: Files, console: Console) -> None:
    """Measure and show what becomes of the memory."""
    machine = apart(lambda: conditions(target.device))
    console.print(f"{target}; {machine}")

    with progress(turns, console) as listener, whole_engine(target, listener) as engine:

        def after_turn(number: int, mebibytes: float) -> None:
            listener.advance(1)
            if number % BLOCK == 0:
                listener.say(f"after {number:5,} turns: {mebibytes:,.1f} MiB")

        report = asyncio.run(measure_endurance(engine, turns, after_turn))
    growth, late = report.growth_mebibytes, report.late_growth_mebibytes
    console.print(f"from the first {BLOCK} turns to the last: {growth:+.1f} MiB, in the second half {late:+.1f} MiB")
    _finish(console, files.write_json(machine, {"memory": report.as_json()}))
