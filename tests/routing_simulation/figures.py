"""What a policy made of a world, and what somebody who knows the future would have made of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from routing.latency import Distribution
from tests.routing_simulation.play import QUALITY_SEC, PlayedTurn
from tests.routing_simulation.world import PlannedTurn, World


@dataclass(frozen=True, slots=True)
class Truth:
    """How long each backend would have taken for a turn, from asking to its first sound; None for never."""

    plan: PlannedTurn
    device_sec: float
    cloud_sec: float | None

    @property
    def best(self) -> str:
        """Who should have answered, the better answers counted as the seconds that they are worth."""
        return "cloud" if self.burden_sec("cloud") < self.burden_sec("device") else "device"

    def burden_sec(self, backend: str) -> float:
        return self.wait_sec(backend) - (QUALITY_SEC if backend == "cloud" else 0.0)

    def wait_sec(self, backend: str) -> float:
        """From the turn's end, if nobody else is waited for."""
        response = self.response_sec(backend)
        return math.inf if response is None else max(self.plan.asked_at + response - self.plan.committed_at, 0.0)

    def response_sec(self, backend: str) -> float | None:
        return self.cloud_sec if backend == "cloud" else self.device_sec


def truth(world: World, plan: PlannedTurn) -> Truth:
    first_at = world.cloud_first_sound_at(plan, plan.last)
    return Truth(plan, plan.last.device_sec, None if first_at is None else first_at - plan.asked_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one policy, over the turns of one world or of several.

    Args:
        v2v: voice to voice, seconds
        pause: the longest silence within a reply, of the worst turn in a hundred, seconds
        cloud_share: how many turns the better model answered,
        kept: and how many of those that the oracle would have given it
        wasted_device_sec, wasted_cloud_sec: work for answers that nobody heard, for each turn
        regret_sec: waiting and worth lost against the oracle, on average
        covered: for each backend, how often its first sound came by the predicted p90
    """

    turns: int
    answered: int
    v2v: Distribution
    oracle_v2v: Distribution
    pause_p99_sec: float
    cloud_share: float
    oracle_cloud_share: float
    kept: float
    wasted_device_sec: float
    wasted_cloud_sec: float
    regret_sec: float
    covered: dict[str, float]


def figures(plays: Iterable[tuple[World, Sequence[PlayedTurn]]]) -> Figures:
    """Of all that was played by one policy."""
    seen = [(turn, truth(world, turn.plan)) for world, played in plays for turn in played]
    wanted = [turn for turn, true in seen if true.best == "cloud"]
    return Figures(
        turns=len(seen),
        answered=sum(turn.wait_sec is not None for turn, _ in seen),
        v2v=Distribution.of([turn.v2v_sec for turn, _ in seen]),
        oracle_v2v=Distribution.of([true.plan.endpoint_wait_sec + true.wait_sec(true.best) for _, true in seen]),
        pause_p99_sec=Distribution.of([turn.pause_sec for turn, _ in seen]).values[-1],
        cloud_share=_share(turn.backend == "cloud" for turn, _ in seen),
        oracle_cloud_share=len(wanted) / len(seen),
        kept=_share(turn.backend == "cloud" for turn in wanted),
        wasted_device_sec=sum(_wasted_sec(turn, "device") for turn, _ in seen) / len(seen),
        wasted_cloud_sec=sum(_wasted_sec(turn, "cloud") for turn, _ in seen) / len(seen),
        regret_sec=sum(_regret_sec(turn, true) for turn, true in seen) / len(seen),
        covered={name: _share(_covered(seen, name)) for name in ("device", "cloud")},
    )


def _share(truths: Iterable[bool]) -> float:
    counted = list(truths)
    return sum(counted) / len(counted) if counted else math.nan


def _wasted_sec(turn: PlayedTurn, backend: str) -> float:
    waste = turn.record.outcome.waste.get(backend) if turn.record else None
    return waste.work_sec if waste else 0.0


def _regret_sec(turn: PlayedTurn, true: Truth) -> float:
    if turn.wait_sec is None:
        return math.inf
    return turn.wait_sec - (QUALITY_SEC if turn.backend == "cloud" else 0.0) - true.burden_sec(true.best)


def _covered(seen: Iterable[tuple[PlayedTurn, Truth]], backend: str) -> Iterable[bool]:
    """Whether each answer that would have come did so by the predicted p90; of those that failed, none is predicted."""
    for turn, true in seen:
        prospect = turn.record.prospect(backend) if turn.record else None
        response_sec = true.response_sec(backend)
        if prospect and prospect.why_not is None and response_sec is not None:
            yield response_sec <= prospect.response.quantile(0.9)
