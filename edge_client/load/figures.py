"""What a run comes to: waits, sound, errors, and what each session took of the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Final

from edge_client.load.news import LoadedTurn
from edge_client.load.record import LoadedCall, LoadRecord, Sample
from edge_client.quantiles import Tail, tail_of

type Measure = Callable[[LoadedTurn], float | None]

MEASURES: Final[Mapping[str, Measure]] = {
    "v2v_ms": lambda turn: turn.v2v_ms,
    "ttfa_ms": lambda turn: turn.ttfa_ms,
    "tpot_ms": lambda turn: turn.tpot_ms,
    "server_ttfa_ms": lambda turn: turn.server_ttfa_ms,
    "endpoint_wait_ms": lambda turn: turn.endpoint_wait_ms,
}
UNASKED: Final = "not asked any more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a session took, while there were any. A figure is None where the machine or the server does not tell.

    Args:
        sessions: at the same time, on average
        core_percent: of one core, for each session in progress: processor time by seconds of sessions
        cores: that the server used, on average
        session_bytes: resident memory beyond what the server had before the first call, for each session in progress.
            An allocator keeps what it has freed: after many calls, part of it is theirs who have left
        resident_bytes: of the server, the median
        callers_cores: that the callers used, on average
        caller_bytes: resident memory of the callers' processes for each call
    """

    sessions: float
    core_percent: float | None = None
    cores: float | None = None
    session_bytes: float | None = None
    resident_bytes: float | None = None
    callers_cores: float | None = None
    caller_bytes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadFigures:
    """The sums over a run, or over a part of it.

    Args:
        calls: that were made, without those that were refused a place
        refused: calls for which there was no place
        retry_after_sec: how long those were told to wait, at the longest
        failed: calls that ended before their time for another reason
        turns: questions, those included that a broken call could not ask any more
        missed: of them, those to which nothing was ever said
        early: in which something was said while the caller still spoke
        starved_turns: replies in which a player that keeps 40 ms in hand would have run dry
        underruns: how often
        starved_ms: and for how long in all
        lost: packets of 20 ms that never came
        concealed: and of those, how many were made up, over whole calls
        errors: how often each kind
    """

    calls: int
    refused: int
    retry_after_sec: float | None
    failed: int
    resumed: int
    turns: int
    answered: int
    missed: int
    early: int
    starved_turns: int
    underruns: int
    starved_ms: float
    lost: int
    concealed: int
    connect_ms: Tail | None
    tails: Mapping[str, Tail | None]
    errors: Mapping[str, int]

    @property
    def is_clean(self) -> bool:
        """Whether there was anybody, and nobody was let down."""
        return self.calls > 0 and not (self.missed or self.failed)


def figures_of(record: LoadRecord, *, since_sec: float = float("-inf")) -> LoadFigures:
    """What a run comes to; of its turns, those that were asked after ``since_sec``."""
    calls, refused = record.calls, [call for call in record.calls if call.is_refused]
    turns = [turn for turn in record.turns if turn.at_sec >= since_sec]
    unasked = sum(call.unasked for call in calls if not call.is_refused)
    return LoadFigures(
        calls=len(calls) - len(refused),
        refused=len(refused),
        retry_after_sec=max((call.retry_after_sec or 0.0 for call in refused), default=None),
        failed=sum(call.fault is not None for call in calls) - len(refused),
        resumed=sum(call.resumed for call in calls),
        turns=len(turns) + unasked,
        answered=sum(turn.v2v_ms is not None for turn in turns),
        missed=sum(turn.missed for turn in turns) + unasked,
        early=sum(turn.early for turn in turns),
        starved_turns=sum(turn.gaps > 0 for turn in turns),
        underruns=sum(turn.gaps for turn in turns),
        starved_ms=sum(turn.starved_ms for turn in turns),
        lost=sum(call.lost for call in calls),
        concealed=sum(call.concealed for call in calls),
        connect_ms=tail_of([call.connect_ms for call in calls if call.connect_ms is not None]),
        tails={name: tail_of(_values(turns, measure)) for name, measure in MEASURES.items()},
        errors=_errors(calls, turns, unasked),
    )


def _values(turns: Sequence[LoadedTurn], measure: Measure) -> list[float]:
    return [value for turn in turns if (value := measure(turn)) is not None]


def _errors(calls: Sequence[LoadedCall], turns: Sequence[LoadedTurn], unasked: int) -> dict[str, int]:
    found = Counter(f"{call.fault}: {call.message}" for call in calls if call.fault)
    found.update(error for turn in turns for error in turn.errors)
    if silent := sum(turn.missed and not turn.errors for turn in turns):
        found["no reply came, and no reason"] = silent
    if unasked:
        found[UNASKED] = unasked
    return dict(found.most_common())


# -- what it takes -----------------------------------------------------------------------------------------------------


def costs_of(samples: Sequence[Sample], *, before: Mapping[str, float]) -> Costs:
    """What sessions took between the first and the last sample; ``before`` are the server's figures without any."""
    session_sec = _session_sec(samples)
    wall_sec = samples[-1].at_sec - samples[0].at_sec if samples else 0.0
    if not (session_sec and wall_sec):
        return Costs(sessions=0.0)
    sessions = session_sec / wall_sec
    used_sec = _risen_steadily([sample.server.get("cpu_sec") for sample in samples])
    callers_sec = _risen([sample.callers.get("cpu_sec") for sample in samples])
    resident, callers = (
        _middle([figures.get("resident_bytes") for figures in side])
        for side in ([sample.server for sample in samples], [sample.callers for sample in samples])
    )
    idle = before.get("resident_bytes")
    return Costs(
        sessions=sessions,
        core_percent=_share(used_sec, session_sec, 100),
        cores=_share(used_sec, wall_sec),
        session_bytes=None if resident is None or idle is None else (resident - idle) / sessions,
        resident_bytes=resident,
        callers_cores=_share(callers_sec, wall_sec),
        caller_bytes=_share(callers, sessions),
    )


def _session_sec(samples: Sequence[Sample]) -> float:
    """How long all sessions together were in progress."""
    return sum((one.calls + two.calls) / 2 * (two.at_sec - one.at_sec) for one, two in pairwise(samples))


def _risen(values: Sequence[float | None]) -> float | None:
    """By how much in all. Where one of several processes ends, what they have together falls: that is no rise."""
    rises = [max(0.0, after - before) for before, after in pairwise(value for value in values if value is not None)]
    return sum(rises) if rises else None


def _risen_steadily(values: Sequence[float | None]) -> float | None:
    """The same; None where it ever fell, because then it is not known."""
    told = [value for value in values if value is not None]
    return _risen(told) if told == sorted(told) else None


def _middle(values: Sequence[float | None]) -> float | None:
    told = [value for value in values if value is not None]
    return median(told) if told else None


def _share(value: float | None, of: float, times: float = 1.0) -> float | None:
    return None if value is None else times * value / of
