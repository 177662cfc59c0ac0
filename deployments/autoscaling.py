"""How many replicas there should be: a pure function of what they tell.

Slots count first. Those in use, those who wait and those who were sent away are the demand; the rate at which it grows
tells what it will be when a replica that is asked for now is warm. Where slots are free and turns wait all the same, or
their first sound is late, one more replica is tried. One leaves after fewer would have been enough for the whole of a
look-back window, so a load that comes back within the window finds everybody still there.

``now`` is in seconds of a clock that goes forward. Where it jumps, or nobody asked for a while, the window begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from math import ceil, exp, floor, sqrt
from statistics import fmean, median
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from routing.load import Load

STRETCHES = 4  # of the time over which growth is measured; it counts as far as it went on from each to the next
BUCKETS_PER_STRETCH = 4
LOOK_BACK_BUCKETS = 32
SCATTER = 4.0  # standard deviations of a count of independent callers; less is no growth
SPARE = 0.25  # of the replicas that would remain, the most that must have been left over before one leaves
ALMOST_LATE = 0.75  # share of the first sound's objective above which nobody leaves
ROUNDING = 1e-6  # of a replica


class AutoscalingSettings(BaseModel):
    """When replicas come and go."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    minimum_replicas: int = Field(default=1, ge=1, description="so many stay, however quiet it is")
    maximum_replicas: int = Field(default=4, ge=1)
    occupancy: float = Field(
        default=0.75, gt=0, le=1, description="share of the slots that may be taken; the rest is for the next minutes"
    )
    cold_start_sec: float = Field(default=60.0, gt=0, description="from asking for a replica to its first turn")
    growth_sec: float = Field(
        default=60.0, gt=0, description="demand that grew all this time is expected to go on; several turns long"
    )
    turn_sec: float = Field(default=8.0, gt=0, description="how long a turn keeps its slot")
    queue_wait_sec: float = Field(default=0.1, gt=0, description="where turns wait longer for a slot, one replica more")
    first_audio_sec: float = Field(
        default=0.6, gt=0, description="where the p95 from question to first sound is longer, one replica more"
    )
    look_back_sec: float = Field(
        default=300.0, gt=0, description="fewer must have been enough for so long before one leaves"
    )
    leave_every_sec: float = Field(default=30.0, ge=0, description="between one that leaves and the next")
    report_every_sec: float = Field(default=1.0, gt=0, description="between two reports of a replica")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.maximum_replicas < self.minimum_replicas:
            raise ValueError(
                f"expected maximum_replicas of at least minimum_replicas ({self.minimum_replicas}), got"
                f" {self.maximum_replicas}"
            )
        if self.growth_sec < STRETCHES * self.report_every_sec:
            raise ValueError(
                f"expected growth_sec of at least {STRETCHES} times report_every_sec ({self.report_every_sec:g}), got"
                f" {self.growth_sec:g}"
            )
        return self

    def bounded(self, count: int) -> int:
        return min(max(count, self.minimum_replicas), self.maximum_replicas)


# -- what a replica tells --------------------------------------------------------------------------------------------


class Report(NamedTuple):
    """How full a replica is, and how many turns it has sent away since it began."""

    load: Load
    refused: int


def as_stats(load: Load, refused: int = 0) -> dict[str, float]:
    """For the method ``record_autoscaling_stats`` of a replica: numbers by name, the same names at all times.

    Args:
        load: how full it is
        refused: how many turns it has sent away since it began
    """
    return {
        "slots": float(load.slots),
        "in_use": float(load.in_use),
        "waiting": float(load.waiting),
        "queue_wait_sec": load.queue_wait_sec,
        "first_audio_p95_sec": load.first_audio_p95_sec or 0.0,  # always there, or an older one would seem to hold
        "refused": float(refused),
    }


def report_of(stats: Mapping[str, float]) -> Report:
    """The inverse of `as_stats`.

    Raises:
        KeyError: one of its numbers is missing.
    """
    return Report(load_of(stats), int(stats["refused"]))


def load_of(stats: Mapping[str, float]) -> Load:
    """See `report_of`."""
    return Load(
        slots=int(stats["slots"]),
        in_use=int(stats["in_use"]),
        waiting=int(stats["waiting"]),
        queue_wait_sec=stats["queue_wait_sec"],
        first_audio_p95_sec=stats["first_audio_p95_sec"] or None,
    )


# -- what is remembered ----------------------------------------------------------------------------------------------


class Demand(NamedTuple):
    """What was taken or waited for in the stretch of time that begins at ``at``: the mean over ``looks``, in slots."""

    at: float
    mean: float
    looks: int


class Peak(NamedTuple):
    """The most that was wanted in the stretch of time that begins at ``at``, in replicas."""

    at: float
    wanted: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingState:
    """What is remembered from one decision to the next. The longest window holds a few dozen values.

    Args:
        since, seen_at: the first and the last look
        demands: of the last ``growth_sec``, oldest first
        peaks: of the last ``look_back_sec``, oldest first
        slots: of all replicas at the last look
        refused: how many they had sent away by then
        unmet: those of them who would be speaking now if they had been let in
        stepped_at: when one more replica was tried because turns waited or were late
        is_late: that was for late first sounds, and they still are
        left_at: when the last replica was let go
    """

    since: float | None = None
    seen_at: float | None = None
    demands: tuple[Demand, ...] = ()
    peaks: tuple[Peak, ...] = ()
    slots: int = 0
    refused: int | None = None
    unmet: float = 0.0
    stepped_at: float | None = None
    is_late: bool = False
    left_at: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Numbers, lists and names only."""
        lists = {"demands": [list(demand) for demand in self.demands], "peaks": [list(peak) for peak in self.peaks]}
        return asdict(self) | lists

    @classmethod
    def of(cls, remembered: Mapping[str, Any]) -> ScalingState:
        """From what `as_dict` gave, or from an empty mapping."""
        names = [name for name in cls.__dataclass_fields__ if name in remembered]
        values = {name: remembered[name] for name in names}
        lists = {
            "demands": tuple(Demand(*demand) for demand in remembered.get("demands", ())),
            "peaks": tuple(Peak(*peak) for peak in remembered.get("peaks", ())),
        }
        return cls(**values | lists)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How many replicas there should be, why in words for an operator, and what to remember for the next time."""

    target: int
    reason: str
    state: ScalingState


# -- the decision ----------------------------------------------------------------------------------------------------


def decide(
    loads: Sequence[Load],
    *,
    replicas: int,
    starting: int,
    refused: int = 0,
    state: ScalingState,
    settings: AutoscalingSettings,
    now: float,
) -> Decision:
    """How many replicas there should be.

    What is running or starting stays unless one of the rules, of which the first that applies counts, says otherwise.

    Args:
        loads: of each running replica that has told it
        replicas: how many run
        starting: how many were asked for and do not run yet
        refused: how many turns have been sent away by those of ``loads``, since each of them began
        state: what the last decision gave, or a new one
    """
    count = replicas + starting
    slots = sum(load.slots for load in loads)
    if not slots:
        return Decision(target=settings.bounded(count), reason="no replica has told how full it is", state=state)
    state = _looked(state, loads, refused, settings, now)
    demand = _taken(loads) + _excess(state.unmet, _free(loads))
    growth = _growth(state.demands, settings.growth_sec, now)
    slots_meant = settings.occupancy * slots / len(loads)
    scene = _Scene(
        count=count,
        starting=starting,
        is_partial=len(loads) < replicas,
        slots=slots,
        taken=_taken(loads),
        demand=demand,
        growth=growth,
        wanted=(demand + growth * settings.cold_start_sec) / slots_meant,
        slots_meant=slots_meant,
        queue_wait_sec=median(load.queue_wait_sec for load in loads),
        first_audio_sec=_first_audio_sec(loads),
        state=state,
        settings=settings,
        now=now,
    )
    return _more(scene) or _one_more(scene) or _one_less(scene) or _as_before(scene)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """What a decision is made from.

    Args:
        count: replicas that run or start
        is_partial: not all that run have told how full they are
        slots, taken: of those that have told
        demand: in slots: taken, waited for, and those who were sent away because none was free
        growth: slots per second
        wanted: replicas whose slots would be taken to the share that is meant, once one that is asked for now is warm
        slots_meant: that share, in slots of one replica
        queue_wait_sec, first_audio_sec: as half of the replicas see it: for one that is stuck, another is no help
    """

    count: int
    starting: int
    is_partial: bool
    slots: int
    taken: int
    demand: float
    growth: float
    wanted: float
    slots_meant: float
    queue_wait_sec: float
    first_audio_sec: float
    state: ScalingState
    settings: AutoscalingSettings
    now: float

    @property
    def has_settled(self) -> bool:
        """Whether what was changed last can be seen by now."""
        stepped_at = self.state.stepped_at
        is_over = stepped_at is None or self.now - stepped_at >= self.settings.cold_start_sec
        return is_over and not self.starting

    def decided(self, target: int, reason: str, *, peak: float, **changes: Any) -> Decision:
        """``peak`` is what must not be undone within the look-back window, in replicas."""
        peaks = _with_peak(self.state.peaks, peak, _peak_width(self.settings), self.now)
        state = replace(self.state, peaks=peaks, **changes)
        return Decision(target=self.settings.bounded(target), reason=reason, state=state)


def _more(scene: _Scene) -> Decision | None:
    """Enough for what is asked for, and for what will be when they are warm."""
    wanted = scene.settings.bounded(ceil(scene.wanted - ROUNDING))
    if wanted <= scene.count:
        return None
    return scene.decided(wanted, _demand_in_words(scene), peak=scene.wanted)


def _one_more(scene: _Scene) -> Decision | None:
    """Turns wait, or are late, although there would be slots."""
    if not scene.has_settled or scene.count >= scene.settings.maximum_replicas:
        return None
    target, settings = scene.count + 1, scene.settings
    if scene.queue_wait_sec > settings.queue_wait_sec:
        reason = f"turns wait {scene.queue_wait_sec:.2f} s for a slot, {settings.queue_wait_sec:g} s are meant"
        return scene.decided(target, reason, peak=target, stepped_at=scene.now)
    if scene.first_audio_sec > settings.first_audio_sec and not scene.state.is_late:
        reason = f"the first sound comes after {scene.first_audio_sec:.2f} s, {settings.first_audio_sec:g} s are meant"
        return scene.decided(target, reason, peak=target, stepped_at=scene.now, is_late=True)
    return None


def _one_less(scene: _Scene) -> Decision | None:
    """One fewer would have been enough all the time."""
    fewer, state, settings = scene.count - 1, scene.state, scene.settings
    if fewer < settings.minimum_replicas or scene.is_partial or _is_strained(scene):
        return None
    peak = max([scene.wanted, *(peak.wanted for peak in state.peaks)])
    if peak + _scatter(peak, scene) > fewer or _age(state.since, scene.now) < settings.look_back_sec:
        return None
    if state.left_at is not None and scene.now - state.left_at < settings.leave_every_sec:
        return None
    reason = f"{fewer} would have been enough for {settings.look_back_sec:g} s"
    return scene.decided(fewer, reason, peak=scene.wanted, left_at=scene.now)


def _as_before(scene: _Scene) -> Decision:
    return scene.decided(scene.count, _demand_in_words(scene), peak=scene.wanted)


def _scatter(peak: float, scene: _Scene) -> float:
    """By how much more, in replicas, the next peak may easily be higher: a count of callers has that many."""
    return min(sqrt(peak / scene.slots_meant), SPARE * (scene.count - 1))


def _is_strained(scene: _Scene) -> bool:
    """Whether turns wait, or would be late with one less. Where most slots are free, replicas are not the reason."""
    is_busy = 2 * scene.taken > scene.settings.occupancy * scene.slots
    is_almost_late = is_busy and scene.first_audio_sec > ALMOST_LATE * scene.settings.first_audio_sec
    return is_almost_late or scene.queue_wait_sec > scene.settings.queue_wait_sec


def _demand_in_words(scene: _Scene) -> str:
    words = [f"{scene.taken} of {scene.slots} slots are taken"]
    if scene.demand > scene.taken:
        words.append(f"{scene.demand - scene.taken:.1f} were missing")
    if scene.growth:
        words.append(f"{scene.growth:.2g} more every second")
    return ", ".join(words)


# -- what a look adds to what is remembered --------------------------------------------------------------------------


def _looked(
    state: ScalingState, loads: Sequence[Load], refused: int, settings: AutoscalingSettings, now: float
) -> ScalingState:
    if state.seen_at is None or not 0 <= now - state.seen_at <= settings.growth_sec:
        state = ScalingState(since=now, refused=refused)
    demand_width = settings.growth_sec / (STRETCHES * BUCKETS_PER_STRETCH)
    demands = _since(now - settings.growth_sec - demand_width, state.demands)
    return replace(
        state,
        seen_at=now,
        demands=_with_demand(demands, _taken(loads), demand_width, now),
        peaks=_since(now - settings.look_back_sec - _peak_width(settings), state.peaks),
        slots=sum(load.slots for load in loads),
        refused=refused,
        unmet=_unmet(state, loads, refused, settings.turn_sec, now),
        is_late=state.is_late and _first_audio_sec(loads) > settings.first_audio_sec,
    )


def _unmet(state: ScalingState, loads: Sequence[Load], refused: int, turn_sec: float, now: float) -> float:
    """Those sent away lately, fading in the time that a turn takes; for some of them there are slots now."""
    fading = state.unmet * exp(-_age(state.seen_at, now) / turn_sec)
    come = max(0, sum(load.slots for load in loads) - state.slots)
    return max(0.0, fading - come) + _increase(state.refused, refused)


def _increase(before: int | None, now: int) -> int:
    """The sum shrinks where a replica has left."""
    return 0 if before is None else max(0, now - before)


def _with_demand(demands: tuple[Demand, ...], taken: float, width: float, now: float) -> tuple[Demand, ...]:
    at = _bucket(now, width)
    if not demands or demands[-1].at != at:
        return (*demands, Demand(at, taken, 1))
    _, mean, looks = demands[-1]
    return (*demands[:-1], Demand(at, mean + (taken - mean) / (looks + 1), looks + 1))


def _with_peak(peaks: tuple[Peak, ...], wanted: float, width: float, now: float) -> tuple[Peak, ...]:
    at = _bucket(now, width)
    if not peaks or peaks[-1].at != at:
        return (*peaks, Peak(at, wanted))
    return (*peaks[:-1], Peak(at, max(peaks[-1].wanted, wanted)))


def _since[Stretch: (Demand, Peak)](at: float, stretches: tuple[Stretch, ...]) -> tuple[Stretch, ...]:
    return tuple(stretch for stretch in stretches if stretch.at > at)


def _peak_width(settings: AutoscalingSettings) -> float:
    return settings.look_back_sec / LOOK_BACK_BUCKETS


def _growth(demands: Sequence[Demand], window_sec: float, now: float) -> float:
    """Slots per second, as far as demand went on growing, and more than it scatters where callers come at random.

    A step, however high, is growth in one stretch only.
    """
    stretches = _stretches(demands, window_sec, now)
    if not all(stretches):
        return 0.0
    means = [fmean(stretch) for stretch in stretches]
    steady = min(after - before for before, after in pairwise(means))
    is_clear = steady * (STRETCHES - 1) > SCATTER * sqrt(max(fmean(means), 1.0))
    return steady * STRETCHES / window_sec if is_clear else 0.0


def _stretches(demands: Sequence[Demand], window_sec: float, now: float) -> list[list[float]]:
    """The means by stretch, oldest first."""
    stretch_sec = window_sec / STRETCHES
    stretches: list[list[float]] = [[] for _ in range(STRETCHES)]
    for demand in demands:
        age = now - demand.at - stretch_sec / BUCKETS_PER_STRETCH / 2
        if age < window_sec:
            stretches[-1 - max(0, floor(age / stretch_sec))].append(demand.mean)
    return stretches


def _bucket(now: float, width: float) -> float:
    return floor(now / width) * width


def _age(then: float | None, now: float) -> float:
    return 0.0 if then is None else now - then


# -- what loads amount to --------------------------------------------------------------------------------------------


def _taken(loads: Sequence[Load]) -> int:
    return sum(load.in_use + load.waiting for load in loads)


def _free(loads: Sequence[Load]) -> int:
    return sum(load.slots for load in loads) - _taken(loads)


def _excess(unmet: float, free: int) -> float:
    """Who was sent away by one replica while another had a free slot has found that one."""
    return max(0.0, unmet - max(0, free))


def _first_audio_sec(loads: Sequence[Load]) -> float:
    """As half of the replicas see it: for one that is stuck, another one is no help. 0 where nobody asked."""
    told = [load.first_audio_p95_sec for load in loads if load.first_audio_p95_sec is not None]
    return median(told) if told else 0.0
