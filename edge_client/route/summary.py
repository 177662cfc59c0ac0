"""Placements in sum: who answered how many turns and how soon, for which reasons, and what that cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from edge_client.quantiles import Tail, tail_of
from routing.record import PlacementRecord

NOBODY = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Turns that have something in common.

    Args:
        bias_sec: the median of what they took longer than predicted; None where nothing was predicted
        regret_sec: what the best backend in hindsight would have saved, on average
        work_sec, sound_sec: what this backend did for nothing, in all the turns; 0 in groups that are no backend
    """

    name: str
    turns: int
    share: float
    wait: Tail | None
    bias_sec: float | None
    regret_sec: float | None
    work_sec: float = 0.0
    sound_sec: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All turns of a file.

    Args:
        seconds: turns in which another spoke first than was chosen to
        handovers: turns in which another went on with what was being said
        leaks: the private turns that left the device
    """

    turns: int
    sessions: int
    policies: tuple[str, ...]
    endings: dict[str, int]
    seconds: int
    handovers: int
    private: int
    leaks: tuple[str, ...]
    backends: tuple[Group, ...]
    reasons: tuple[Group, ...]


def expected_sec(record: PlacementRecord) -> float | None:
    """The wait that the decision meant for whoever spoke: the second one was to be held back at first."""
    outcome, choice = record.outcome, record.choice
    predicted = choice.predicted_sec.get(outcome.backend) if outcome.backend else None
    if predicted is None or outcome.backend != choice.second:
        return predicted
    return max(predicted, choice.patience_sec)


def reason_head(record: PlacementRecord) -> str:
    """The reason without the figures of this turn."""
    return record.choice.reason.partition(":")[0]


def speaker(record: PlacementRecord) -> str:
    return record.outcome.backend or NOBODY


def summarise(records: Sequence[PlacementRecord]) -> Summary:
    leaks = tuple(record.turn_id for record in records if not record.keeps_privacy)
    return Summary(
        turns=len(records),
        sessions=len({record.session_id for record in records}),
        policies=tuple(dict.fromkeys(record.policy for record in records)),
        endings=dict(Counter(record.outcome.ended for record in records)),
        seconds=sum(record.outcome.backend not in (None, record.choice.first) for record in records),
        handovers=sum(any(switch.told_sec > 0 for switch in record.outcome.switches) for record in records),
        private=sum(record.question.stays_here for record in records),
        leaks=leaks,
        backends=_groups(records, speaker, is_backend=True),
        reasons=_groups(records, reason_head),
    )


def _groups(
    records: Sequence[PlacementRecord], key: Callable[[PlacementRecord], str], *, is_backend: bool = False
) -> tuple[Group, ...]:
    """The largest first. A backend that only worked for nothing is one as well."""
    turns: dict[str, list[PlacementRecord]] = {}
    for record in records:
        turns.setdefault(key(record), []).append(record)
        for name in record.outcome.waste if is_backend else ():
            turns.setdefault(name, [])
    names = sorted(turns, key=lambda name: (-len(turns[name]), name))
    return tuple(_group(name, turns[name], records, is_backend=is_backend) for name in names)


def _group(
    name: str, turns: Sequence[PlacementRecord], records: Sequence[PlacementRecord], *, is_backend: bool
) -> Group:
    waste = [record.outcome.waste[name] for record in records if is_backend and name in record.outcome.waste]
    return Group(
        name=name,
        turns=len(turns),
        share=len(turns) / len(records),
        wait=tail_of(known(record.outcome.first_sound_sec for record in turns)),
        bias_sec=median(known(map(_lateness_sec, turns))),
        regret_sec=mean(known(record.regret_sec for record in turns)),
        work_sec=sum(each.work_sec for each in waste),
        sound_sec=sum(each.sound_sec for each in waste),
    )


def _lateness_sec(record: PlacementRecord) -> float | None:
    expected, actual = expected_sec(record), record.outcome.first_sound_sec
    return None if expected is None or actual is None else actual - expected


def known(values: Iterable[float | None]) -> list[float]:
    """Those that there are."""
    return [value for value in values if value is not None]


def median(values: Sequence[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None


def mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
