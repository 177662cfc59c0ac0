"""Whether a server leaks, judged by figures that were sampled while calls came and went.

Two questions are asked, since leaks show in two ways.

**Does it return?** Tasks, sockets, files, peer connections, calls and sessions are counted before the first call, and
again when everybody has left, and the server has swept its memory. Each must be back at the count before. Threads
belong to pools that fill as they are used: there may be a few more in the end than there were early in the run.

**Does it grow?** An allocator keeps freed memory, so that resident memory does not fall when callers leave; what tells
a leak is that it goes on growing while the load stays the same. Before the run there is a rush of more calls at once
than the run will hardly have, so that the busiest moment is over. Of the time in which calls came, the first tenth is
warm-up nevertheless: caches fill, and the allocator finds how much it needs. The second tenth is compared with the last
tenth, like with like: for each number of calls in progress that was seen in both stretches, the median of the one is
set against the median of the other, and the median of all these ratios, each weighed by its samples, is the growth. So
neither single peaks, nor a sawtooth shorter than a tenth of the run, nor a busier end are taken for a leak; a steady
loss is seen by eight tenths of its whole. Where too few numbers of calls were seen in both, the plain medians are
compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from edge_client.load.record import Sample

RETURNING: Final = ("tasks", "sockets", "files", "peer_connections", "calls", "sessions")
LINGERING: Final[Mapping[str, int]] = {"peer_connections": 1}  # the latest, which some frame holds until the next
POOLED: Final = "threads"
LATE_THREADS: Final = 3  # that pools may start when they are busiest; a thread left by each call would be hundreds
MEMORY: Final = "resident_bytes"
MOST_GROWTH: Final = 0.02
WARM_UP: Final = (0.1, 0.2)  # the stretch that is compared, as shares of the time in which calls came
END: Final = (0.9, 1.0)
LEAST_ALIKE: Final = 8  # samples of either stretch at numbers of calls that the other saw too


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One figure, judged.

    Args:
        before: its base line
        after: what is compared with that
        growth: of memory, as a share of ``before``
        allowed: how much ``after`` may be, or of memory how much ``growth``
    """

    figure: str
    before: float
    after: float
    allowed: float
    growth: float | None = None
    remark: str = ""

    @property
    def leaked(self) -> bool:
        return (self.after if self.growth is None else self.growth) > self.allowed


def judge(
    before: Mapping[str, float], during: Sequence[Sample], after: Mapping[str, float], *, growth: float = MOST_GROWTH
) -> list[Finding]:
    """What was found; a figure that nobody told of is left out.

    Args:
        before: figures of the server when nobody had called yet, but for a first call that warmed it up
        during: samples from the first call's beginning to the last one's
        after: figures when everybody had left, and the server had had time to notice
        growth: of resident memory, as a share, that is no leak
    """
    findings = [_returned(name, before[name], after[name]) for name in RETURNING if name in before and name in after]
    early, late = (_stretch(during, *shares) for shares in (WARM_UP, END))
    if POOLED in after and any(POOLED in sample.server for sample in early):
        findings.append(_pooled(early, after[POOLED]))
    if memory := _memory(early, late, growth):
        findings.append(memory)
    return findings


def unjudged(findings: Iterable[Finding]) -> list[str]:
    """Figures that say whether a server leaks, and that nobody told."""
    judged = {finding.figure for finding in findings}
    return [name for name in (*RETURNING, POOLED, MEMORY) if name not in judged]


def _returned(name: str, before: float, after: float) -> Finding:
    return Finding(
        figure=name, before=before, after=after, allowed=at_rest(name, before), remark="when everybody has left"
    )


def at_rest(name: str, before: float) -> float:
    """How many there may be when everybody has left."""
    return before + LINGERING.get(name, 0)


def _pooled(early: Iterable[Sample], after: float) -> Finding:
    most = max(sample.server[POOLED] for sample in early if POOLED in sample.server)
    remark = f"at most early in the run, and {LATE_THREADS} for pools that fill late"
    return Finding(figure=POOLED, before=most, after=after, allowed=most + LATE_THREADS, remark=remark)


def _stretch(samples: Sequence[Sample], first: float, last: float) -> list[Sample]:
    """Those of a part of the time."""
    if not samples:
        return []
    begin, whole = samples[0].at_sec, samples[-1].at_sec - samples[0].at_sec
    return [sample for sample in samples if first * whole <= sample.at_sec - begin <= last * whole]


def _memory(early: Sequence[Sample], late: Sequence[Sample], allowed: float) -> Finding | None:
    by_calls = [_by_calls(stretch) for stretch in (early, late)]
    if not all(by_calls):
        return None
    alike = by_calls[0].keys() & by_calls[1].keys()
    plain = [median(value for values in stretch.values() for value in values) for stretch in by_calls]
    if any(sum(len(stretch[calls]) for calls in alike) < LEAST_ALIKE for stretch in by_calls):
        growth, remark = plain[1] / plain[0] - 1, "plain medians: the load was never the same"
    else:
        growth, remark = (
            _growth(by_calls[0], by_calls[1], alike),
            "at the same number of calls, second tenth to last tenth",
        )
    return Finding(figure=MEMORY, before=plain[0], after=plain[1], growth=growth, allowed=allowed, remark=remark)


def _by_calls(samples: Iterable[Sample]) -> dict[int, list[float]]:
    found = defaultdict[int, list[float]](list)
    for sample in samples:
        if sample.server.get(MEMORY, 0) > 0:
            found[sample.calls].append(sample.server[MEMORY])
    return dict(found)


def _growth(early: Mapping[int, Sequence[float]], late: Mapping[int, Sequence[float]], alike: Iterable[int]) -> float:
    ratios = [(median(late[n]) / median(early[n]), min(len(early[n]), len(late[n]))) for n in alike]
    return weighted_median(ratios) - 1


def weighted_median(values: Iterable[tuple[float, float]]) -> float:
    """The least value at or below which lies half of all the weight; of (value, weight), at least one."""
    ordered = sorted(values)
    half, passed = sum(weight for _, weight in ordered) / 2, 0.0
    for value, weight in ordered:
        passed += weight
        if passed >= half:
            return value
    return ordered[-1][0]
