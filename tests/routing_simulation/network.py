"""Mobile networks as they change from one moment to the next: delay, loss and outages, in which bad moments cluster.

A network is drawn once, from a seed, for the whole of a run. Whatever is sent at the same moment, by whichever policy,
fares the same.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

STEP_SEC = 0.05
LEAST_RETRANSMISSION_SEC = 0.2  # as Linux has it; a small message that is lost waits at least so long
LONGEST_RETRANSMISSION_SEC = 5.0


@dataclass(frozen=True, slots=True)
class Moment:
    """What the network does in one step, the same both ways."""

    delay_sec: float  # one way
    jitter_sec: float  # on top of that, on average; exponential
    loss: float  # 1 where nothing gets through


type Weather = Callable[[random.Random], Iterator[Moment]]


class Line:
    """Carries messages over a network as TCP does: what is lost is sent again, later and later, and nothing overtakes.

    ``salt`` tells lines in different directions apart: they have the same weather and different luck.
    """

    def __init__(self, moments: list[Moment], *, seed: int) -> None:
        dice = random.Random(seed)
        self._moments = moments
        self._luck = [dice.random() for _ in range(4096)]

    def arrival(self, sent_at: float, *, salt: int = 0) -> float:
        """When a small message arrives that was sent then."""
        at = sent_at
        wait = max(LEAST_RETRANSMISSION_SEC, 3.0 * self._moment(at).delay_sec)
        while self._roll(at, salt) < self._moment(at).loss:
            at += wait
            wait = min(2.0 * wait, LONGEST_RETRANSMISSION_SEC)
        moment = self._moment(at)
        return at + moment.delay_sec - moment.jitter_sec * math.log(1.0 - self._roll(at, salt + 1))

    def _moment(self, at: float) -> Moment:
        """After the last one it begins anew: whatever it ends with, an outage has an end."""
        return self._moments[int(at / STEP_SEC) % len(self._moments)]

    def _roll(self, at: float, salt: int) -> float:
        return self._luck[(int(at / STEP_SEC) * 7919 + salt * 104_729) % len(self._luck)]


def drawn(weather: Weather, *, seconds: float, seed: int) -> Line:
    """A line under this weather."""
    moments = weather(random.Random(seed))
    return Line([next(moments) for _ in range(int(seconds / STEP_SEC))], seed=seed + 1)


# -- kinds of weather ------------------------------------------------------------------------------------------------


def steady(dice: random.Random) -> Iterator[Moment]:
    """4G at rest: a round trip of 40 ms that wanders by a few."""
    delay = 0.02
    while True:
        delay += 0.02 * (0.02 - delay) + dice.gauss(0.0, 0.0004)
        yield Moment(max(delay, 0.01), 0.003, 0.001)


def congested(dice: random.Random) -> Iterator[Moment]:
    """A full cell: for tens of seconds a deep queue stands in the way, and it fills and empties within seconds."""
    queue = goal = 0.0
    while True:
        if dice.random() < STEP_SEC / 18.0:
            goal = dice.uniform(0.1, 0.7) if goal == 0.0 else 0.0
        queue += (goal - queue) * STEP_SEC / 1.5 + goal * dice.gauss(0.0, 0.04)
        yield Moment(0.025 + max(queue, 0.0), 0.004 + 0.1 * max(queue, 0.0), 0.03 if goal else 0.002)


def lossy(dice: random.Random) -> Iterator[Moment]:
    """The edge of a cell: loss in bursts of a second or two (Gilbert's model, in time)."""
    is_bad = False
    while True:
        if dice.random() < STEP_SEC / (1.5 if is_bad else 4.0):
            is_bad = not is_bad
        yield Moment(0.03, 0.012 if is_bad else 0.004, 0.25 if is_bad else 0.005)


def outage(dice: random.Random) -> Iterator[Moment]:
    """Tunnels: the signal fades over a second, is gone for some seconds, and comes back."""
    while True:
        for _ in range(int(dice.expovariate(1 / 35.0) / STEP_SEC) + 100):
            yield Moment(0.03, 0.005, 0.003)
        for step in range(20):
            yield Moment(0.03 + 0.015 * step, 0.02, 0.02 * step)
        for _ in range(int(min(dice.lognormvariate(math.log(5.0), 0.7), 30.0) / STEP_SEC)):
            yield Moment(0.03, 0.005, 1.0)
        for step in range(10):
            yield Moment(0.03 + 0.02 * (10 - step), 0.02, 0.05)


def handover(dice: random.Random) -> Iterator[Moment]:
    """On a train: every half minute another cell, with a gap of up to a second and a round trip of its own."""
    while True:
        delay = math.exp(dice.uniform(math.log(0.012), math.log(0.09)))
        for _ in range(int(dice.uniform(12.0, 40.0) / STEP_SEC)):
            yield Moment(delay, 0.15 * delay, 0.005)
        for _ in range(int(dice.uniform(0.15, 1.2) / STEP_SEC)):
            yield Moment(delay, 0.02, 1.0)


WEATHERS: Mapping[str, Weather] = MappingProxyType(
    {
        "steady": steady,
        "congested": congested,
        "lossy": lossy,
        "outage": outage,
        "handover": handover,
    }
)
