"""How many replicas there should be: what each rule says, and fleets under loads of every shape, played in no time."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from pydantic import ValidationError

from deployments.autoscaling import AutoscalingSettings, Decision, Report, ScalingState, as_stats, decide, report_of
from routing.load import Load

SLOTS = 8
SETTINGS = AutoscalingSettings(maximum_replicas=12)
SOON = SETTINGS.report_every_sec


def loads(*in_use: int, **same: float) -> list[Load]:
    """One replica each."""
    return [replace(Load(slots=SLOTS, in_use=count), **same) for count in in_use]  # type: ignore[arg-type]


def settled(
    *in_use: int, settings: AutoscalingSettings = SETTINGS, until: float = 0.0, first_audio_sec: float | None = None
) -> ScalingState:
    """What is remembered where it was like this for more than a look-back window, until ``until``."""
    state = ScalingState()
    for tick in range(-1 - int(settings.look_back_sec), 0):
        told = [replace(load, first_audio_p95_sec=first_audio_sec) for load in loads(*in_use)]
        state = decide(
            told, replicas=100, starting=0, state=state, settings=settings, now=until + tick * SOON
        ).state  # nobody leaves: the other reports are missing
    return state


def decided(
    told: list[Load],
    *,
    starting: int = 0,
    refused: int = 0,
    state: ScalingState | None = None,
    settings: AutoscalingSettings = SETTINGS,
    now: float = 0.0,
) -> Decision:
    state = state or settled(*(load.in_use for load in told), settings=settings, until=now)
    return decide(told, replicas=len(told), starting=starting, refused=refused, state=state, settings=settings, now=now)


# -- one decision ----------------------------------------------------------------------------------------------------


def test_a_share_of_the_slots_is_kept_free() -> None:
    assert decided(loads(6, 6)).target == 2  # three quarters
    decision = decided(loads(7, 6))
    assert decision.target == 3
    assert decision.reason == "13 of 16 slots are taken"


def test_those_who_wait_and_those_who_were_sent_away_count_too() -> None:
    assert decided(loads(8, 8)).target == 3
    assert decided(loads(8, 8, waiting=4)).target == 4
    decision = decided(loads(8, 8), refused=14, state=replace(settled(8, 8), refused=0))
    assert decision.target == 5
    assert decision.reason == "16 of 16 slots are taken, 14.0 were missing"


def test_who_was_sent_away_by_one_and_let_in_by_another_is_not_missing() -> None:
    assert decided(loads(8, 2), refused=5, state=replace(settled(8, 2), refused=0)).target == 2


def test_those_sent_away_are_forgotten_in_the_time_of_a_turn() -> None:
    state = decided(loads(8, 8), refused=14, state=replace(settled(8, 8), refused=0)).state
    later = decided(loads(8, 8), refused=14, state=state, now=2 * SETTINGS.turn_sec)
    assert later.state.unmet == pytest.approx(14 * math.exp(-2))


def test_a_replica_that_left_takes_its_count_of_those_sent_away_along() -> None:
    state = replace(settled(6, 6), refused=1000)
    assert decided(loads(6, 6), refused=10, state=state).target == 2


def test_those_that_start_already_are_not_asked_for_again() -> None:
    state = settled(8, 8)
    assert decided(loads(8, 8), starting=1, state=state).target == 3


def test_where_turns_wait_though_slots_are_free_one_more_is_tried() -> None:
    waiting = loads(3, 3, queue_wait_sec=0.3)
    decision = decided(waiting)
    assert decision.target == 3
    assert decision.reason == "turns wait 0.30 s for a slot, 0.1 s are meant"
    again = loads(2, 2, 2, queue_wait_sec=0.3)
    soon = decided(again, state=decision.state, now=SETTINGS.cold_start_sec / 2)
    assert soon.target == 3  # it has not had the time to help
    assert decided(again, state=soon.state, now=SETTINGS.cold_start_sec).target == 4


def test_who_starts_already_may_be_the_help_that_is_needed() -> None:
    assert decided(loads(3, 3, queue_wait_sec=0.3), starting=1).target == 3


def test_who_was_tried_stays_for_a_window() -> None:
    state = decided(loads(1, 1, queue_wait_sec=0.3)).state
    targets = []
    for now in range(50, 401, 50):
        decision = decided(loads(1, 1, 1), state=state, now=now)
        state = decision.state
        targets.append(decision.target)
    assert targets == [3, 3, 3, 3, 3, 3, 2, 2]


def test_nobody_leaves_while_turns_wait() -> None:
    settings = SETTINGS.model_copy(update={"maximum_replicas": 3})
    assert decided(loads(1, 1, 1, queue_wait_sec=0.3), settings=settings).target == 3
    assert decided(loads(1, 1, 1), settings=settings).target == 2


def test_where_the_first_sound_is_late_though_slots_are_free_one_more_is_tried_once() -> None:
    late = loads(5, 5, first_audio_p95_sec=0.9)
    decision = decided(late)
    assert decision.target == 3
    assert decision.reason == "the first sound comes after 0.90 s, 0.6 s are meant"
    then = settled(5, 5, until=1000.0, first_audio_sec=0.9)
    assert decided(late, state=replace(then, is_late=True), now=1000.0).target == 2
    in_time = decided(loads(5, 5, first_audio_p95_sec=0.5), state=replace(then, is_late=True), now=1000.0)
    assert decided(late, state=in_time.state, now=1001.0).target == 3


def test_one_that_is_stuck_is_no_reason_for_more() -> None:
    stuck = loads(5, queue_wait_sec=9.0, first_audio_p95_sec=9.0)
    assert decided(stuck + loads(5, 5, first_audio_p95_sec=0.3)).target == 3


def test_nobody_leaves_while_the_first_sound_is_almost_late() -> None:
    state = settled(3, 3, 3, 4)
    assert decided(loads(3, 3, 3, 4, first_audio_p95_sec=0.5), state=state).target == 4
    assert decided(loads(3, 3, 3, 4, first_audio_p95_sec=0.3), state=state).target == 3
    quiet = settled(1, 0, 0)
    assert decided(loads(1, 0, 0, first_audio_p95_sec=0.5), state=quiet).target == 2  # so few are not the reason


def test_one_leaves_after_fewer_were_enough_for_the_whole_window() -> None:
    decision = decided(loads(2, 2, 2))
    assert decision.target == 2
    assert decision.reason == "2 would have been enough for 300 s"


def test_they_leave_one_after_the_other() -> None:
    first = decided(loads(0, 0, 0))
    assert first.target == 2
    too_soon = decided(loads(0, 0), state=first.state, now=SETTINGS.leave_every_sec - 1)
    assert too_soon.target == 2
    assert decided(loads(0, 0), state=too_soon.state, now=SETTINGS.leave_every_sec).target == 1


def test_nobody_leaves_while_somebody_has_not_told() -> None:
    state = settled(0, 0)
    decision = decide(loads(0, 0), replicas=3, starting=0, state=state, settings=SETTINGS, now=0.0)
    assert decision.target == 3


def test_without_any_report_all_stays() -> None:
    nothing = ScalingState()
    decision = decide([], replicas=2, starting=1, state=nothing, settings=SETTINGS, now=0.0)
    assert decision == Decision(target=3, reason="no replica has told how full it is", state=nothing)
    assert decide([], replicas=0, starting=0, state=nothing, settings=SETTINGS, now=0.0).target == 1


def test_after_a_gap_the_window_begins_anew() -> None:
    state = settled(0, 0)
    assert decided(loads(0, 0), state=state).target == 1
    assert decided(loads(0, 0), state=state, now=SETTINGS.growth_sec + 1).target == 2
    assert decided(loads(0, 0), state=state, now=-1000.0).target == 2


# -- what is told and remembered -------------------------------------------------------------------------------------


@given(
    load=st.builds(
        Load,
        slots=st.integers(0, 100),
        in_use=st.integers(0, 100),
        waiting=st.integers(0, 100),
        queue_wait_sec=st.floats(0, 100),
        first_audio_p95_sec=st.none() | st.floats(0, 100, exclude_min=True),
    ),
    refused=st.integers(0, 10**6),
)
def test_a_report_survives_the_way_to_the_policy(load: Load, refused: int) -> None:
    stats = as_stats(load, refused)
    assert all(isinstance(value, float) for value in stats.values())
    assert set(stats) == set(as_stats(Load(slots=1, in_use=0)))
    assert report_of(stats) == Report(load, refused)


def test_what_is_remembered_is_plain() -> None:
    state = replace(settled(3, 2), stepped_at=-5.0, is_late=True)
    remembered = state.as_dict()
    assert ScalingState.of(json.loads(json.dumps(remembered))) == state
    assert ScalingState.of({}) == ScalingState()
    assert ScalingState.of(remembered | {"of somebody else": 1}) == state


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"minimum_replicas": 3, "maximum_replicas": 2}, "expected maximum_replicas of at least minimum_replicas"),
        ({"growth_sec": 3.0, "report_every_sec": 1.0}, "expected growth_sec of at least 4 times report_every_sec"),
        ({"occupancy": 1.5}, "less than or equal to 1"),
        ({"min_replicas": 1}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AutoscalingSettings.model_validate(values)


# -- a fleet ---------------------------------------------------------------------------------------------------------

COARSE = SETTINGS.model_copy(update={"report_every_sec": 5.0})  # so that hours are soon over

type Curve = Callable[[float], float]  # turns that want to be answered at the same time, over seconds


@dataclass
class Fleet:
    """Replicas that start and leave, a load spread evenly, and the policy, asked every second."""

    settings: AutoscalingSettings = SETTINGS
    running: int = 1
    warm_at: list[float] = field(default_factory=list)
    state: ScalingState = field(default_factory=ScalingState)
    refused: float = 0.0
    now: float = 0.0
    sizes: list[int] = field(default_factory=list)  # after each second, started or not
    refused_at: list[float] = field(default_factory=list)

    @property
    def tick_sec(self) -> float:
        return self.settings.report_every_sec

    def play(self, curve: Curve, seconds: float) -> Fleet:
        for _ in range(round(seconds / self.tick_sec)):
            self._live(curve(self.now))
            self._resize(self._asked())
            self.now += self.tick_sec
        return self

    def _live(self, wish: float) -> None:
        self.running += sum(at <= self.now for at in self.warm_at)
        self.warm_at = [at for at in self.warm_at if at > self.now]
        self.taken = min(round(wish), self.running * SLOTS)
        if round(wish) > self.taken:
            self.refused += (wish - self.taken) * self.tick_sec / self.settings.turn_sec
            self.refused_at.append(self.now)

    def _asked(self) -> int:
        shares = [self.taken // self.running + (place < self.taken % self.running) for place in range(self.running)]
        decision = decide(
            loads(*shares),
            replicas=self.running,
            starting=len(self.warm_at),
            refused=int(self.refused),
            state=self.state,
            settings=self.settings,
            now=self.now,
        )
        self.state = decision.state
        return decision.target

    def _resize(self, target: int) -> None:
        """Those that do not run yet are the first to go."""
        while self.running + len(self.warm_at) < target:
            self.warm_at.append(self.now + self.settings.cold_start_sec)
        while self.running + len(self.warm_at) > target:
            if self.warm_at:
                self.warm_at.pop()
            else:
                self.running -= 1
        self.sizes.append(target)

    @property
    def changes(self) -> list[tuple[float, int]]:
        """When how many came or left."""
        steps = itertools.pairwise(self.sizes)
        return [
            ((index + 1) * self.tick_sec, after - before)
            for index, (before, after) in enumerate(steps)
            if after != before
        ]

    @property
    def turnabouts(self) -> int:
        signs = [math.copysign(1, change) for _, change in self.changes]
        return sum(before != after for before, after in itertools.pairwise(signs))


def noisy(curve: Curve, *, tick_sec: float, seed: int = 1) -> Curve:
    """As callers come who know nothing of each other: the counts scatter, and do so slowly, over a turn's length."""
    source = random.Random(seed)
    drift = 0.0

    def scattered(now: float) -> float:
        nonlocal drift
        keep = math.exp(-tick_sec / SETTINGS.turn_sec)
        drift = keep * drift + math.sqrt(1 - keep**2) * source.gauss(0, 1)
        mean = curve(now)
        return max(0.0, mean + math.sqrt(mean) * drift)

    return scattered


def ramp(rate: float, *, start: float = 5.0, begin_sec: float = 0.0, most: float = 1e9) -> Curve:
    return lambda now: min(most, start + rate * max(0.0, now - begin_sec))


def test_an_even_load_is_left_alone() -> None:
    fleet = Fleet(running=4).play(lambda _: 20, 1000)
    assert fleet.changes == []


@given(cold_start_sec=st.integers(5, 200), running=st.integers(1, 8))
@effort(max_examples=10)
def test_no_turn_is_refused_on_a_ramp_that_the_free_slots_outlast(cold_start_sec: int, running: int) -> None:
    settings = AutoscalingSettings(maximum_replicas=100, cold_start_sec=cold_start_sec)
    spare = running * SLOTS * (1 - settings.occupancy)
    rate = (spare - 1) / (cold_start_sec + 2 * SOON)  # the share is kept in whole turns
    curve = ramp(rate, start=running * SLOTS / 2, begin_sec=10)
    fleet = Fleet(settings, running=running).play(curve, 10 + 4 * cold_start_sec)
    assert not fleet.refused_at


def test_a_steeper_ramp_is_foreseen() -> None:
    """The quarter of the slots that is kept free would be taken in 45 s, and a replica needs 60."""
    curve = ramp(2.2, start=120, begin_sec=60, most=600)
    settings = SETTINGS.model_copy(update={"maximum_replicas": 1000})
    fleet = Fleet(settings, running=50).play(curve, 400)
    assert not fleet.refused_at
    assert fleet.turnabouts == 0
    blind = settings.model_copy(update={"growth_sec": 1000.0})
    assert Fleet(blind, running=50).play(curve, 400).refused_at


def test_a_step_is_followed_once_and_not_taken_for_a_ramp() -> None:
    fleet = Fleet(running=2).play(lambda now: 4 if now < 400 else 40, 900)
    assert max(fleet.sizes) <= 8  # 7 are enough; how many were sent away is a guess
    assert all(400 <= at < 400 + SETTINGS.cold_start_sec + 2 * SETTINGS.turn_sec for at in fleet.refused_at)
    assert [change for at, change in fleet.changes if change < 0] == [-1]  # long before it


@pytest.mark.parametrize("period_sec", [30, 120, 250])
def test_a_sawtooth_shorter_than_the_window_moves_nobody(period_sec: float) -> None:
    fleet = Fleet(COARSE, running=2).play(lambda now: 48 * (now % period_sec) / period_sec, 7200)
    assert all(change > 0 for _, change in fleet.changes)
    assert not [at for at, _ in fleet.changes if at > 2 * period_sec]


def test_a_spike_is_remembered_for_one_window() -> None:
    fleet = Fleet(running=1).play(lambda now: 30 if 400 <= now < 405 else 4, 1200)
    assert fleet.turnabouts == 1
    first_down = next(at for at, change in fleet.changes if change < 0)
    assert 405 + SETTINGS.look_back_sec <= first_down <= 405 + SETTINGS.look_back_sec * 1.1
    assert fleet.sizes[-1] == 1


def test_a_night_lets_them_go_one_by_one_and_the_morning_brings_them_back() -> None:
    day_sec = 4 * 3600
    curve = noisy(lambda now: 24 + 20 * math.cos(2 * math.pi * now / day_sec), tick_sec=COARSE.report_every_sec)
    fleet = Fleet(COARSE, running=8).play(curve, day_sec)
    assert min(fleet.sizes) <= 3
    assert fleet.sizes[-1] >= 8
    assert not fleet.refused_at
    assert all(change == -1 for _, change in fleet.changes if change < 0)


def test_callers_who_come_at_random_move_few_to_and_fro() -> None:
    hours = 4
    fleet = Fleet(COARSE, running=5).play(noisy(lambda _: 20, tick_sec=COARSE.report_every_sec), hours * 3600)
    assert not fleet.refused_at
    assert fleet.turnabouts <= 2 * hours  # of the 48 windows
    assert fmean(fleet.sizes) < 6.5


@given(wishes=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 90)), max_size=12))
@effort(max_examples=20)
def test_whatever_the_load_nobody_leaves_who_was_asked_for_within_the_window(wishes: list[tuple[int, int]]) -> None:
    settings = AutoscalingSettings(
        maximum_replicas=10, look_back_sec=40.0, cold_start_sec=5.0, growth_sec=8.0, turn_sec=2.0, leave_every_sec=2.0
    )
    timeline = [wish for seconds, wish in wishes for _ in range(seconds)]
    fleet = Fleet(settings).play(lambda now: timeline[int(now)], len(timeline))
    ups = [at for at, change in fleet.changes if change > 0]
    downs = [at for at, change in fleet.changes if change < 0]
    assert not [(up, down) for up in ups for down in downs if up < down < up + settings.look_back_sec]
    assert all(1 <= size <= 10 for size in fleet.sizes)
    assert len(fleet.state.peaks) <= 40
    assert len(fleet.state.demands) <= 20
