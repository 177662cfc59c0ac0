"""How long a decision takes, by each policy and for as many backends as there are.

Run ``python -m tests.bench_policy``; it takes some seconds. Each decision is timed alone, on prospects that differ from
one to the next; garbage is collected as ever.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from random import Random
from typing import get_args

from rich.console import Console
from rich.table import Table

from routing.latency import Distribution
from routing.policy import DeviceState, PolicyName, Prospect, Question, Traits, choose

DECISIONS = 20_000
QUESTION = Question(speech_sec=1.5, language="en")
STATE = DeviceState(load=0.8)
TRAITS = (
    Traits(is_remote=False),
    Traits(is_remote=True, quality_sec=0.3, cost_sec=0.02, knowledge=True),
    Traits(is_remote=True, quality_sec=0.2, languages=frozenset({"en", "de"})),
)
NAMES = ("device", "cloud", "other")


def prospects(backends: int, dice: Random) -> list[Prospect]:
    """As at the end of some turn."""
    return [_prospect(name, traits, dice) for name, traits in zip(NAMES[:backends], TRAITS, strict=False)]


def _prospect(name: str, traits: Traits, dice: Random) -> Prospect:
    return Prospect(
        name=name,
        traits=traits,
        response=Distribution.of([dice.lognormvariate(-1.5, 0.5) for _ in range(30)]),
        failure=0.02,
        jitter_sec=0.01,
        asked_ago_sec=dice.uniform(0.0, 0.3),
        is_ready=dice.random() < 0.2,
    )


def timed(policy: PolicyName, turns: Sequence[Sequence[Prospect]]) -> list[float]:
    """Microseconds of each decision, in ascending order."""
    found = []
    for turn in turns:
        began = time.perf_counter_ns()
        choose(policy, QUESTION, turn, STATE)
        found.append((time.perf_counter_ns() - began) / 1000)
    return sorted(found)


def main() -> None:
    table = Table("policy", "backends", "p50 µs", "p99 µs", "p99.9 µs", title=f"{DECISIONS} decisions each")
    for backends in (2, 3):
        dice = Random(backends)
        some = [prospects(backends, dice) for _ in range(500)]
        turns = [some[number % len(some)] for number in range(DECISIONS)]
        for policy in get_args(PolicyName.__value__):
            spent = timed(policy, turns)
            figures = (f"{spent[int(share * DECISIONS)]:.1f}" for share in (0.5, 0.99, 0.999))
            table.add_row(policy, str(backends), *figures)
    Console().print(table)


if __name__ == "__main__":
    main()
