"""Every policy on the same mobile networks, by the real router on virtual time, against an oracle.

Run ``python -m tests.bench_routing``; it takes about a minute and needs neither models nor a network. Each scenario is
a caller who says something every ten seconds, a device as quick as measured, a cloud with better answers, and a network
that is drawn from a seed: what is sent at the same moment fares the same under every policy.

    steady       4G at rest: a round trip of 40 ms
    congested    for tens of seconds a queue of 0.1-0.7 s stands in the way, each way
    lossy        a quarter of all packets is lost, for a second or two at a time; TCP sends them again
    outage       tunnels: nothing gets through for some seconds, every minute
    handover     another cell every half minute: a gap of up to a second, and another round trip
    cold start   a steady network, but a queue of seconds at the cloud, which refuses when it is long

Columns: V2V in milliseconds from the last word to the first one heard; "÷ best" is p99 over the better of always-device
and always-cloud (the promise for `hedged`: at most 1.1 everywhere); "cloud" is the share of turns that the better model
answered, "kept" the share of those that the oracle would have given it (the promise: 90 % where it is steady); "regret"
counts waiting and worth lost against the oracle; "wasted" is work per turn for answers that nobody heard; "p90 kept"
says how often a first sound came by the p90 that was predicted (the promise: 85-95 %); "pause" is the longest silence
within a reply, in the worst turn of a hundred.

The oracle knows how long everybody will take, and is bound by the same world. It weighs: one that is somewhat later
may still be worth it.

At the end one decision is timed, in time of a processor: two prospects and the choice between them (the promise: 50 µs
in 99 of 100). Beside it what it takes to learn from an outcome, once for each backend and turn.
"""

from __future__ import annotations

import argparse
import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import get_args

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from routing.latency import Distribution
from routing.outlook import Outlook
from routing.policy import Choice, DeviceState, PolicyName, Question, choose
from tests.routing_simulation.figures import Figures, figures
from tests.routing_simulation.play import CLOUD, DEVICE, play
from tests.routing_simulation.world import SCENARIOS, World, world

POLICIES: tuple[PolicyName, ...] = get_args(PolicyName.__value__)

type Results = dict[PolicyName, Figures]


def measure(scenario: str, policies: Sequence[PolicyName], *, turns: int, seeds: int, progress: Progress) -> Results:
    """Each policy on the same worlds."""
    worlds = [world(scenario, turns=turns, seed=seed) for seed in range(seeds)]
    return {policy: _measure(scenario, policy, worlds, progress) for policy in policies}


def _measure(scenario: str, policy: PolicyName, worlds: Sequence[World], progress: Progress) -> Figures:
    task = progress.add_task(f"{scenario}, {policy}", total=sum(len(each.turns) for each in worlds))
    found = figures([(each, play(each, policy, on_played=lambda _: progress.advance(task))) for each in worlds])
    progress.remove_task(task)
    return found


def table(scenario: str, results: Results) -> Table:
    columns = "÷ best|cloud|kept|regret ms|wasted device ms|wasted cloud ms|p90 kept device|cloud|pause ms"
    shown = Table(scenario, "answered", "V2V p50 ms", "p95", "p99", *columns.split("|"))
    best = min((results[policy].v2v.values[-1] for policy in ("device", "cloud") if policy in results), default=None)
    for policy, found in results.items():
        shown.add_row(policy, f"{found.answered}/{found.turns}", *_v2v(found, best), *_shares(found), *_rest(found))
    some = next(iter(results.values()))
    oracle = some.oracle_v2v.values
    shown.add_row("oracle", "", *map(_ms, (oracle[3], oracle[6], oracle[7])), "", f"{some.oracle_cloud_share:.0%}")
    return shown


def _v2v(found: Figures, best: float | None) -> list[str]:
    values = found.v2v.values
    return [_ms(values[3]), _ms(values[6]), _ms(values[7]), f"{values[7] / best:.2f}" if best else ""]


def _shares(found: Figures) -> list[str]:
    return [f"{found.cloud_share:.0%}", f"{found.kept:.0%}", _ms(found.regret_sec)]


def _rest(found: Figures) -> list[str]:
    wasted = [_ms(found.wasted_device_sec), _ms(found.wasted_cloud_sec)]
    covered = ["" if math.isnan(share) else f"{share:.0%}" for share in found.covered.values()]
    return [*wasted, *covered, _ms(found.pause_p99_sec)]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f}"


# -- how long a decision takes ---------------------------------------------------------------------------------------


def decision_times(count: int = 20_000) -> tuple[Distribution, Distribution]:
    """Of decisions, and of learning from an outcome, in seconds."""
    outlooks = [Outlook("device", DEVICE), Outlook("cloud", CLOUD)]
    learning = [_timed(functools.partial(_learn, outlooks, turn)) for turn in range(400)]
    outlooks[1].note_round_trip(0.05, 2000.0)
    return Distribution.of([_timed(lambda: _decide(outlooks)) for _ in range(count)]), Distribution.of(learning)


def _learn(outlooks: Sequence[Outlook], turn: int) -> None:
    outlooks[turn % 2].note_response(1.0 + turn % 5, 0.2 + 0.01 * (turn % 9), 5.0 * turn)


def _decide(outlooks: Sequence[Outlook]) -> Choice:
    prospects = [outlook.prospect(3.0, 2001.0, asked_ago_sec=0.256) for outlook in outlooks]
    return choose("hedged", Question(speech_sec=3.0), prospects, DeviceState())


def _timed(work: Callable[[], object]) -> float:
    """Of this thread alone: what else the machine does is left out."""
    began = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - began) * 1e-9


def _told(name: str, times: Distribution) -> str:
    return f"{name}: p50 {times.median * 1e6:.0f} µs, p99 {times.values[-1] * 1e6:.0f} µs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=500, help="in each world (default: 500)")
    parser.add_argument("--seeds", type=int, default=4, help="worlds of each scenario (default: 4)")
    parser.add_argument("--scenario", choices=SCENARIOS, action="append", help="only this one; may be repeated")
    parser.add_argument("--policy", choices=POLICIES, action="append", help="only this one; may be repeated")
    arguments = parser.parse_args()
    console = Console(width=180)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        for scenario in arguments.scenario or SCENARIOS:
            results = measure(
                scenario,
                arguments.policy or POLICIES,
                turns=arguments.turns,
                seeds=arguments.seeds,
                progress=progress,
            )
            console.print(table(scenario, results))
    decision, learning = decision_times()
    console.print(_told("decision", decision), _told("learning", learning), sep="; ")


if __name__ == "__main__":
    main()
