"""Leaks are found, and what only looks like one is not."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from edge_client.load.leak import Finding, judge, unjudged, weighted_median
from edge_client.load.record import Sample

MB = 1e6
IDLE = {"tasks": 10.0, "sockets": 8.0, "files": 20.0, "peer_connections": 0.0, "calls": 0.0, "sessions": 0.0}

type Memory = Callable[[float, int, Random], float]


def soaked(memory: Memory, *, seed: int = 1, samples: int = 900, busier: float = 0.0) -> list[Sample]:
    """Half an hour with a dozen calls, more or less, sampled every two seconds; ``busier`` adds calls in the end."""
    chance, found, calls = Random(seed), [], 12.0
    for number in range(samples):
        calls += 0.05 * (12 + busier * number / samples - calls) + chance.gauss(0, 0.9)
        now, there = number * 2.0, max(0, round(calls))
        threads = 14.0 if number > 100 else 12.0
        figures = {"resident_bytes": memory(number / samples, there, chance), "threads": threads}
        found.append(Sample(at_sec=now, calls=there, server=figures))
    return found


def plain(share: float, calls: int, chance: Random) -> float:
    """Rises quickly to what it needs, and follows the calls a little."""
    return (300 + 60 * min(share / 0.05, 1) + 1.5 * calls + chance.gauss(0, 2)) * MB


def verdicts(memory: Memory, *, busier: float = 0.0, seed: int = 1) -> dict[str, Finding]:
    found = judge(IDLE, soaked(memory, busier=busier, seed=seed), {**IDLE, "threads": 14.0})
    return {finding.figure: finding for finding in found}


@pytest.mark.parametrize("seed", range(5))
def test_noise_and_a_warm_up_are_no_leak(seed: int) -> None:
    found = verdicts(plain, seed=seed)
    assert not any(finding.leaked for finding in found.values())
    assert set(found) == {*IDLE, "threads", "resident_bytes"}


@pytest.mark.parametrize("seed", range(5))
def test_a_sawtooth_is_no_leak(seed: int) -> None:
    """As where the garbage collector comes after every few dozen of calls."""
    memory = verdicts(lambda share, calls, chance: plain(share, calls, chance) + share * 37 % 1 * 25 * MB, seed=seed)
    assert not memory["resident_bytes"].leaked


@pytest.mark.parametrize("seed", range(5))
def test_memory_that_grows_with_every_call_is_a_leak(seed: int) -> None:
    """By 15 KB for each of a thousand calls: 4 % of 375 MB."""
    memory = verdicts(lambda share, calls, chance: plain(share, calls, chance) + share * 15 * MB, seed=seed)
    assert memory["resident_bytes"].leaked
    growth = memory["resident_bytes"].growth
    assert growth is not None
    assert growth == pytest.approx(0.8 * 15 / 378, abs=0.006)


def test_a_busier_end_is_no_leak() -> None:
    busy = verdicts(lambda share, calls, chance: plain(share, calls, chance) + 2 * calls * MB, busier=6)
    assert not busy["resident_bytes"].leaked
    assert busy["resident_bytes"].after > 1.02 * busy["resident_bytes"].before


def test_what_stays_when_everybody_has_left_is_a_leak() -> None:
    after = {**IDLE, "tasks": 12.0, "peer_connections": 2.0, "files": 19.0}
    leaks = [finding.figure for finding in judge(IDLE, [], after) if finding.leaked]
    assert leaks == ["tasks", "peer_connections"]


def test_threads_may_fill_their_pools_and_no_more() -> None:
    samples = soaked(plain)
    few, many = (judge({}, samples, {"threads": count})[0] for count in (15.0, 40.0))
    assert (few.before, few.leaked, many.leaked) == (14.0, False, True)


def test_what_nobody_tells_is_not_judged() -> None:
    assert judge({}, [], {}) == []
    assert [finding.figure for finding in judge({"sockets": 3.0}, [], {"sockets": 3.0, "tasks": 4.0})] == ["sockets"]


def test_where_the_load_was_never_the_same_plain_medians_are_compared() -> None:
    samples = [
        Sample(at_sec=second, calls=second, server={"resident_bytes": (100 + second) * MB}) for second in range(101)
    ]
    (memory,) = judge({}, samples, {})
    assert memory.remark.startswith("plain medians")
    assert (memory.before, memory.after) == (115 * MB, 195 * MB)


def test_a_weighted_median_counts_each_value_by_its_weight() -> None:
    assert weighted_median([(3.0, 1.0), (1.0, 1.0), (2.0, 1.0)]) == 2.0
    assert weighted_median([(1.0, 1.0), (9.0, 5.0)]) == 9.0


def test_what_nobody_told_is_not_judged_and_that_is_known() -> None:
    assert unjudged(judge(IDLE, soaked(plain), {**IDLE, "threads": 14.0})) == []
    deaf = {name: IDLE[name] for name in ("sockets", "files")}
    assert unjudged(judge(IDLE, [], deaf)) == [
        "tasks",
        "peer_connections",
        "calls",
        "sessions",
        "threads",
        "resident_bytes",
    ]
