"""Who calls when, and what they do: drawn once from a seed, and the same over however many processes it is spread.

Calls come by chance, independently of each other (a Poisson process of a rate), or so many are held all the time. A
caller talks or only listens. One who talks asks question after question: 1 + Poisson(turns - 1) of them, and thinks
after each answer, for a time that is exponentially distributed (R. Jain, "The Art of Computer Systems Performance
Analysis", 1991, chapter 30, on workloads with think times). One who listens stays silent for as long as one of the
others would have stayed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice
from math import exp, isfinite
from random import Random
from typing import Any, Final, Literal

from routing.errors import InvalidRequest

LISTENED_TURN_SEC: Final = 5.0  # what a question and its answer take, for those who only listen
LONGEST_THINKING: Final = 5.0  # times the mean: whoever thinks longer has gone
ENDLESS: Final = 1_000_000  # questions in a call that lasts until all is over

type Transport = Literal["webrtc", "websocket"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """What is asked of a server.

    Args:
        rate_per_min: calls that come, on average; None where ``concurrent`` are held
        concurrent: calls at all times; None where they come by a rate
        calls: after which none comes any more; None: until the time is over
        duration_sec: after which no call and no question begins; None: until all calls were made
        turns: questions in a call, on average
        think_sec: between an answer and the next question, on average
        listening: the share of calls in which nothing is said, 0 to 1
        lasting: whether calls go on until the time is over
        relayed: whether callers ask for TURN servers, and go through one where nothing else leads to the server
        ramp_sec: over which the first of ``concurrent`` calls are spread
    """

    url: str
    transport: Transport = "webrtc"
    rate_per_min: float | None = None
    concurrent: int | None = None
    calls: int | None = None
    duration_sec: float | None = None
    turns: float = 3.0
    think_sec: float = 2.0
    listening: float = 0.0
    lasting: bool = False
    relayed: bool = False
    ramp_sec: float = 0.0
    seed: int = 1
    model: str | None = None
    session: Mapping[str, Any] | None = None
    patience_sec: float = 20.0

    def __post_init__(self) -> None:
        if (self.rate_per_min is None) == (self.concurrent is None):
            raise InvalidRequest("expected either a rate of calls or how many are held at the same time")
        if self.calls is None and self.duration_sec is None:
            raise InvalidRequest("expected how many calls are made, or for how long")
        if self.lasting and self.duration_sec is None:
            raise InvalidRequest("expected how long the calls last")
        for name, least in LEAST.items():
            value: float | None = getattr(self, name)
            if value is not None and not (isfinite(value) and value >= least):
                raise InvalidRequest(f"expected {name} of at least {least:g}, got {value:g}", param=name)
        if self.relayed and self.transport != "webrtc":
            raise InvalidRequest(f"expected relays for calls over webrtc, got {self.transport}", param="relayed")
        if self.listening > 1:
            raise InvalidRequest(f"expected a share from 0 to 1, got {self.listening:g}", param="listening")

    @property
    def expected_sec(self) -> float:
        """How long a call lasts, roughly."""
        return self.turns * (LISTENED_TURN_SEC + self.think_sec)

    @property
    def expected_at_once(self) -> float:
        """How many calls are in progress at the same time, roughly: Little's law, with a margin of two deviations."""
        if self.concurrent is not None:
            return float(self.concurrent)
        assert self.rate_per_min is not None
        mean = self.rate_per_min / 60 * self.expected_sec
        most = mean + 2 * float(mean**0.5)
        return most if self.calls is None else min(most, float(self.calls))


LEAST: Final[Mapping[str, float]] = {
    "rate_per_min": 0.001,
    "concurrent": 1,
    "calls": 1,
    "duration_sec": 0.001,
    "turns": 1,
    "think_sec": 0,
    "listening": 0,
    "ramp_sec": 0,
    "patience_sec": 0.1,
}


@dataclass(frozen=True, slots=True)
class Seat:
    """One caller's place: the calls of these numbers, one after the other, from ``begin_sec`` on."""

    begin_sec: float
    first: int
    step: int = 1
    last: int | None = None  # None: as long as there is time

    def numbers(self) -> Iterator[int]:
        return iter(count(self.first, self.step) if self.last is None else range(self.first, self.last + 1, self.step))


@dataclass(frozen=True, slots=True)
class CallPlan:
    """What one caller does. ``thinking`` gives the time before each further question, in seconds.

    ``listen_sec`` is how long one stays who says nothing; None: this one talks.
    """

    turns: int
    listen_sec: float | None
    thinking: Iterator[float]


def seats(plan: LoadPlan) -> list[Seat]:
    """All places in the order of their beginning."""
    return list(_held(plan) if plan.concurrent is not None else _coming(plan))


def _held(plan: LoadPlan) -> Iterator[Seat]:
    assert plan.concurrent is not None
    apart_sec = plan.ramp_sec / plan.concurrent
    for index in range(plan.concurrent):
        if plan.calls is None or index < plan.calls:
            yield Seat(index * apart_sec, index + 1, plan.concurrent, plan.calls)


def _coming(plan: LoadPlan) -> Iterator[Seat]:
    assert plan.rate_per_min is not None
    chance, at_sec = Random(f"{plan.seed} arrivals"), 0.0
    for number in islice(count(1), plan.calls):
        at_sec += chance.expovariate(plan.rate_per_min / 60)
        if plan.duration_sec is not None and at_sec > plan.duration_sec:
            return
        yield Seat(at_sec, number, last=number)


def draw_call(plan: LoadPlan, number: int) -> CallPlan:
    """What the caller of this number does."""
    chance = Random(f"{plan.seed} {number}")
    listens = chance.random() < plan.listening
    turns = ENDLESS if plan.lasting else 1 + _poisson(chance, plan.turns - 1)
    thinking = _thinking(chance, plan.think_sec)
    stays_sec = sum(islice(thinking, turns)) + turns * LISTENED_TURN_SEC if listens and not plan.lasting else ENDLESS
    return CallPlan(turns, stays_sec if listens else None, thinking)


def _thinking(chance: Random, mean_sec: float) -> Iterator[float]:
    while True:
        yield min(chance.expovariate(1.0), LONGEST_THINKING) * mean_sec


def _poisson(chance: Random, mean: float) -> int:
    """By multiplying until less than e^-mean is left (D. Knuth, "Seminumerical Algorithms", 3.4.1): for small means."""
    least, product, number = exp(-mean), chance.random(), 0
    while product > least:
        product *= chance.random()
        number += 1
    return number
