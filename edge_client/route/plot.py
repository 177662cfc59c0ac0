"""Plots made of characters, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase

BLOCKS = "▁▂▃▄▅▆▇█"
COLUMNS = 64
ROWS = 16
AXIS_CELLS = 8  # for the figures on the left
SHOWN_SHARE = 0.98  # of the points; the few beyond stand at the edge, so that the many can be told apart


@dataclass(frozen=True, slots=True)
class Point:
    """What was predicted, and what came, in milliseconds."""

    predicted: float
    actual: float


def sparkline(values: Sequence[float]) -> str:
    """A bar of one character for each value, from 0 to the largest."""
    largest = max(values, default=0.0)
    if largest <= 0:
        return BLOCKS[0] * len(values)
    return "".join(BLOCKS[min(int(value / largest * len(BLOCKS)), len(BLOCKS) - 1)] for value in values)


def histogram(values: Sequence[float], *, until: float, columns: int = 24) -> str:
    """How many values are in each of ``columns`` equal stretches from 0; what is beyond ``until`` is in the last."""
    counts = [0] * columns
    for value in values:
        counts[_cell(value, until, columns)] += 1
    return "".join(BLOCKS[_height(count, max(counts))] if count else " " for count in counts)


def _height(count: int, largest: int) -> int:
    return min(count * len(BLOCKS) // max(largest, 1), len(BLOCKS) - 1)


def letters(names: Iterable[str]) -> dict[str, str]:
    """A letter for each name, its first one where that is free."""
    given: dict[str, str] = {}
    for name in names:
        free = (letter for letter in (*name.lower(), *ascii_lowercase, "#") if letter not in given.values())
        given[name] = next(free, "#")
    return given


def scatter(points: Mapping[str, Sequence[Point]], *, columns: int = COLUMNS, rows: int = ROWS) -> list[str]:
    """Predicted to the right, actual upwards, a letter for each backend; on the dotted line they are equal.

    Where several backends meet, there is a ``+``. Milliseconds at the axes; the lines are in the order to print.
    """
    limit = _limit([value for each in points.values() for point in each for value in (point.predicted, point.actual)])
    grid = [[" "] * columns for _ in range(rows)]
    for column in range(columns):
        grid[column * rows // columns][column] = "·"
    marks = letters(points)
    for name, each in points.items():
        for point in each:
            _mark(grid, marks[name], _cell(point.actual, limit, rows), _cell(point.predicted, limit, columns))
    return [*_with_axis(grid, limit), *_feet(limit, columns)]


def scale_of(points: Mapping[str, Sequence[Point]]) -> float:
    """Where the axes end, in milliseconds."""
    return _limit([value for each in points.values() for point in each for value in (point.predicted, point.actual)])


def _limit(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return max(ordered[int(SHOWN_SHARE * (len(ordered) - 1))], 1.0) if ordered else 1.0


def _cell(value: float, limit: float, cells: int) -> int:
    return max(0, min(int(value / limit * cells), cells - 1))


def _mark(grid: list[list[str]], letter: str, row: int, column: int) -> None:
    there = grid[row][column]
    grid[row][column] = letter if there in (" ", "·", letter) else "+"


def _with_axis(grid: list[list[str]], limit: float) -> list[str]:
    labels = {len(grid) - 1: f"{limit:.0f}", 0: "0"}
    rows = [f"{labels.get(row, ''):>{AXIS_CELLS}} │{''.join(cells)}" for row, cells in enumerate(grid)]
    return rows[::-1]


def _feet(limit: float, columns: int) -> list[str]:
    title = "actual ↑  predicted →  ms"
    return [
        f"{'':{AXIS_CELLS}} └{'─' * columns}",
        f"{'':{AXIS_CELLS}}  0{title:^{columns - 8}}{limit:>7.0f}",
    ]
