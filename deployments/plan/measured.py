"""What `antiphon load --json` has measured, taken over into a plan; and whether what lies between two points is found.

The file may be that of one load or of steps: whatever in it says how many ``sessions`` there were and what they took
(``costs``: ``sessions``, ``cores`` or ``core_percent``, ``resident_bytes`` or ``session_bytes``) is a point.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deployments.plan.settings import PlanSettings
from routing.errors import SettingsError

LISTENING = 0.99  # share of silent calls above which nobody talks
MIB = 2**20
TINY = 1e-9  # cores, where none were seen to be used


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What an edge took with so many sessions.

    Args:
        listening: share of the calls in which nothing was said
        turns_per_sec: of all calls together; None where it was not told
        resident_mib: of the process as a whole; None likewise
    """

    sessions: float
    cores: float
    listening: float = 0.0
    turns_per_sec: float | None = None
    resident_mib: float | None = None


class Line(NamedTuple):
    """``base + each * sessions``."""

    base: float
    each: float

    def at(self, sessions: float) -> float:
        return self.base + self.each * sessions


class Power(NamedTuple):
    """``one * sessions ** exponent``: an edge that wakes up serves all calls that have something for it by then."""

    one: float
    exponent: float

    def at(self, sessions: float) -> float:
        return self.one * float(sessions**self.exponent)


class Comparison(NamedTuple):
    """A figure that was measured, and what follows from others."""

    name: str
    sessions: float
    measured: float
    planned: float

    @property
    def ratio(self) -> float:
        return self.planned / self.measured if self.measured else float("inf")


def read_points(file: Path) -> list[Point]:
    """All that a file tells, by the number of sessions.

    Raises:
        SettingsError: it cannot be read, or tells nothing.
    """
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"{file}: expected JSON of `antiphon load --json`: {error}") from None
    points = sorted(_points(content, {}), key=lambda point: point.sessions)
    if not points:
        raise SettingsError(f"{file}: expected costs with sessions and cores, as `antiphon load --json` writes them")
    return points


def _points(part: Any, around: Mapping[str, Any]) -> Iterator[Point]:
    """Of any part of the file, however deep: ``around`` is what is said above it."""
    if isinstance(part, Sequence) and not isinstance(part, str):
        for element in part:
            yield from _points(element, around)
    if not isinstance(part, Mapping):
        return
    own = {"listening": part["listening"]} if "listening" in part else {}
    known = {**around, **_mapping(part, "plan"), **own}
    if costs := _mapping(part, "costs"):
        yield from _point(costs, part, known)
    for key, value in part.items():
        if key not in {"costs", "plan", "summary", "calls", "turns", "samples"}:
            yield from _points(value, known)


def _point(costs: Mapping[str, Any], part: Mapping[str, Any], said: Mapping[str, Any]) -> Iterator[Point]:
    sessions, cores = _number(costs, "sessions"), _number(costs, "cores")
    percent, resident = _number(costs, "core_percent"), _number(costs, "resident_bytes")
    if cores is None and percent is not None and sessions:
        cores = percent / 100 * sessions
    if not sessions or sessions < 0 or cores is None:
        return
    yield Point(
        sessions=sessions,
        cores=cores,
        listening=1.0 if said.get("listening") is True else _number(said, "listening") or 0.0,
        turns_per_sec=_turns_per_sec(part),
        resident_mib=None if resident is None else resident / MIB,
    )


def _turns_per_sec(part: Mapping[str, Any]) -> float | None:
    """While most of the calls were there that there ever were."""
    samples = [sample for sample in _list(part, "samples") if _number(sample, "at_sec") is not None]
    most = max((_number(sample, "calls") or 0.0 for sample in samples), default=0.0)
    times: list[float] = [sample["at_sec"] for sample in samples if (_number(sample, "calls") or 0.0) > 0.9 * most]
    if not times or times[-1] <= times[0]:
        return None
    asked = [turn for turn in _list(part, "turns") if times[0] <= (_number(turn, "at_sec") or -1.0) <= times[-1]]
    return len(asked) / (times[-1] - times[0])


def _mapping(part: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = part.get(name)
    return value if isinstance(value, Mapping) else {}


def _list(part: Mapping[str, Any], name: str) -> list[Any]:
    value = part.get(name)
    return value if isinstance(value, list) else []


def _number(part: Any, name: str) -> float | None:
    """What can be reckoned with: JSON of others may hold anything, and Python's NaN and Infinity."""
    value = part.get(name) if isinstance(part, Mapping) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) else None


# -- what follows from them --------------------------------------------------------------------------------------------


def fit(points: Iterable[tuple[float, float]]) -> Line:
    """The line that comes closest to ``(sessions, figure)``; with one point, through nothing at no sessions."""
    sessions, figures = np.array(list(points), dtype=np.float64).T
    if len(set(sessions)) < 2:
        return Line(0.0, float(figures.mean() / sessions.mean()))
    each, base = np.polyfit(sessions, figures, 1)
    return Line(float(base), float(each))


def grow(points: Iterable[tuple[float, float]]) -> Power:
    """The power that comes closest to ``(sessions, cores)``, by their ratios; with one point, in proportion to it."""
    sessions, cores = np.log(np.maximum(np.array(list(points), dtype=np.float64).T, TINY))
    if len(set(sessions)) < 2:
        return Power(float(np.exp(cores.mean() - sessions.mean())), 1.0)
    exponent, one = np.polyfit(sessions, cores, 1)
    return Power(float(np.exp(one)), float(exponent))


def adopt(settings: PlanSettings, points: Sequence[Point]) -> PlanSettings:
    """The plan with what was measured in place of what was assumed, as far as it was: a call takes what it does in a
    pod whose places are taken.
    """
    changes: dict[str, float] = {}
    silent = [point for point in points if point.listening >= LISTENING]
    talking = [point for point in points if point.listening < LISTENING]
    if silent:
        changes |= {"hearing_cores": max(0.0, _each(silent, settings) - settings.gateways.session_cores)}
    if talking:
        changes |= _of_turns(settings, talking, changes)
    told = [(point.sessions, point.resident_mib) for point in points if point.resident_mib is not None]
    if len({sessions for sessions, _ in told}) > 1:
        line = fit(told)
        changes |= {"base_mib": max(1.0, line.base), "session_mib": max(0.0, line.each)}
    return settings.model_copy(update={"gateways": settings.gateways.model_copy(update=changes)})


def _of_turns(settings: PlanSettings, talking: Sequence[Point], changes: Mapping[str, float]) -> dict[str, float]:
    """What a turn takes beyond a call that is only held. Where turns were not counted, they came as in the plan.

    The load's turns are answered by the edge itself, so that one figure holds both to understand and to answer.
    """
    gateways = settings.gateways
    held = gateways.session_cores + changes.get("hearing_cores", gateways.hearing_cores)
    counted = [point.turns_per_sec / point.sessions for point in talking if point.turns_per_sec]
    each_per_sec = sum(counted) / len(counted) if counted else 1 / settings.cycle_sec
    both = max(0.0, _each(talking, settings) - held) / each_per_sec
    understood = gateways.turn_core_sec / (gateways.turn_core_sec + gateways.device_core_sec or 1.0)
    return {"turn_core_sec": understood * both, "device_core_sec": (1 - understood) * both}


def _each(points: Sequence[Point], settings: PlanSettings) -> float:
    places = settings.gateways.places
    return grow([(point.sessions, point.cores) for point in points]).at(places) / places


def predictions(points: Sequence[Point]) -> list[Comparison]:
    """Each point between the first and the last, and what follows of it from those two: cores grow by a power of the
    number of calls, memory along a line. Calls in which nothing is said and those with talk are told apart.
    """
    found: list[Comparison] = []
    for is_silent in (True, False):
        alike = [point for point in points if (point.listening >= LISTENING) == is_silent]
        kind = "listening" if is_silent else "talking"
        found += _between([(point.sessions, point.cores) for point in alike], f"cores, {kind}", grow)
        told = [(point.sessions, point.resident_mib) for point in alike if point.resident_mib is not None]
        found += _between(told, f"MiB, {kind}", fit)
    return found


def _between(
    points: Sequence[tuple[float, float]], name: str, law: Callable[[Iterable[tuple[float, float]]], Line | Power]
) -> list[Comparison]:
    if len(points) < 3:
        return []
    found = law([points[0], points[-1]])
    return [Comparison(name, sessions, figure, found.at(sessions)) for sessions, figure in points[1:-1]]
