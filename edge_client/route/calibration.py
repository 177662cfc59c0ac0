"""Whether predictions hold: how often an answer came within the time that was promised for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from routing.policy import Prospect
from routing.record import PlacementRecord

PROMISES = (0.5, 0.9, 0.99)
GOOD = (0.85, 0.95)  # of answers within their p90
COARSE = 0.05  # where one turn more or less means so much, a share tells nothing


class Sighting(NamedTuple):
    """At which level of its predicted distribution an answer came; with ``is_bound``, beyond which it would have."""

    level: float
    is_bound: bool


@dataclass(frozen=True, slots=True)
class Calibration:
    """How often the answers of a backend came within the predicted p50, p90 and p99.

    ``came`` answers were seen. ``unseen`` were no longer waited for when they might still have come; they count, up to
    where it is known, as answers that took longer.
    """

    backend: str
    came: int
    unseen: int
    within: tuple[float | None, ...]  # for each of `PROMISES`; None where too few turns tell

    @property
    def verdict(self) -> str:
        covered = self.within[PROMISES.index(0.9)]
        if covered is None:
            return "seen too rarely to tell"
        return "hopeful" if covered < GOOD[0] else "careful" if covered > GOOD[1] else "good"


def calibrations(records: Sequence[PlacementRecord]) -> tuple[Calibration, ...]:
    """For each backend that answered at all, in the order of their first appearance."""
    names = dict.fromkeys(prospect.name for record in records for prospect in record.prospects)
    found = (_calibration(name, records) for name in names)
    return tuple(each for each in found if each.came)


def _calibration(name: str, records: Sequence[PlacementRecord]) -> Calibration:
    sightings = [seen for record in records if (seen := _sighting(name, record))]
    within = tuple(_share_within(level, sightings) for level in PROMISES)
    unseen = sum(seen.is_bound for seen in sightings)
    return Calibration(name, len(sightings) - unseen, unseen, within)


def _sighting(name: str, record: PlacementRecord) -> Sighting | None:
    prospect = record.prospect(name)
    arrival, bound = record.outcome.arrivals.get(name), record.abandoned_after_sec(name)
    if prospect is None or (arrival is None and bound is None):
        return None
    if arrival is not None:
        return Sighting(_level(prospect, arrival), is_bound=False)
    return Sighting(_level(prospect, bound or 0.0), is_bound=True)


def _level(prospect: Prospect, seconds: float) -> float:
    return prospect.response.probability_within(seconds)


def _share_within(level: float, sightings: Iterable[Sighting]) -> float | None:
    """The share at or below a level: the product-limit estimate (Kaplan and Meier 1958), for the sake of the bounds."""
    ordered = sorted(sightings)
    beyond = 1.0
    for index, seen in enumerate(ordered):
        each = beyond / (len(ordered) - index)  # what every sighting from here on stands for
        if seen.level > level or each > COARSE:
            return None if each > COARSE else 1 - beyond
        beyond -= 0.0 if seen.is_bound else each
    return 1 - beyond if beyond <= COARSE else None
