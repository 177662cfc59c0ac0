"""Sessions stay with their replica, whoever comes and goes."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from deployments.plan.ring import Ring

KEYS = [number / 500 for number in range(500)]


def ring_of(*numbers: int) -> Ring[str]:
    ring: Ring[str] = Ring()
    for number in numbers:
        ring.join(number, f"replica {number}", seed=1)
    return ring


def homes(ring: Ring[str]) -> list[str]:
    return [next(ring.ranks(key)) for key in KEYS]


def test_each_member_has_its_share_roughly() -> None:
    shares = Counter(homes(ring_of(0, 1, 2, 3)))
    assert len(shares) == 4
    assert max(shares.values()) < 2 * min(shares.values())


def test_one_that_leaves_moves_nobody_else() -> None:
    ring = ring_of(0, 1, 2, 3)
    before = homes(ring)
    ring.leave(2)
    moved = [old for old, new in zip(before, homes(ring), strict=True) if old != new]
    assert set(moved) == {"replica 2"}
    ring.leave(2)
    ring.join(2, "replica 2", seed=1)
    assert homes(ring) == before


def test_the_next_ones_are_others() -> None:
    ring = ring_of(0, 1, 2)
    assert len(set(ring.ranks(0.5))) == 3
    assert len(list(islice(ring.ranks(0.5), 2))) == 2
    assert list(ring_of().ranks(0.5)) == []
