"""Which replica remembers a session: consistent hashing, as Serve's router does it, with places drawn by chance."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator
from random import Random

NODES = 100  # of each replica on the ring: Ray Serve's default


class Ring[Member]:
    """Members by their place on a circle from 0 to 1. A key belongs to the next one clockwise."""

    def __init__(self) -> None:
        self._nodes: list[tuple[float, int]] = []
        self._places: list[float] = []
        self._members: dict[int, Member] = {}

    def __len__(self) -> int:
        return len(self._members)

    def join(self, number: int, member: Member, *, seed: int) -> None:
        """``number`` is the member's own, and with the seed says where it stands."""
        chance = Random(f"{seed}:{number}")
        self._members[number] = member
        self._nodes = sorted([*self._nodes, *((chance.random(), number) for _ in range(NODES))])
        self._places = [place for place, _ in self._nodes]

    def leave(self, number: int) -> None:
        """Those who were with it go to the next ones on the circle, all others stay."""
        if self._members.pop(number, None) is not None:
            self._nodes = [node for node in self._nodes if node[1] != number]
            self._places = [place for place, _ in self._nodes]

    def ranks(self, key: float) -> Iterator[Member]:
        """The members, each once, from the one that the key belongs to."""
        nodes, seen = self._nodes, set[int]()
        start = bisect(self._places, key)
        for index in range(len(nodes)):
            number = nodes[(start + index) % len(nodes)][1]
            if number not in seen:
                seen.add(number)
                yield self._members[number]
