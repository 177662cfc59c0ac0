"""How busy the replicas are, from one moment to the next: a queue that builds up while another one starts."""

from __future__ import annotations

import random
from collections.abc import Iterator

from routing.load import Load
from tests.routing_simulation.network import STEP_SEC

SLOTS = 8
LONGEST_QUEUE_SEC = 2.5  # a longer one is refused
RETRY_AFTER_SEC = 2.0


class Capacity:
    """The queue at each moment; where ``queues`` ends, there is none."""

    def __init__(self, queues: list[float]) -> None:
        self._queues = queues

    def queue_sec(self, at: float) -> float:
        step = int(at / STEP_SEC)
        return self._queues[step] if step < len(self._queues) else 0.0

    def is_full(self, at: float) -> bool:
        return self.queue_sec(at) >= LONGEST_QUEUE_SEC

    def load(self, at: float) -> Load:
        """What a replica would tell of itself."""
        queue = self.queue_sec(at)
        return Load(slots=SLOTS, in_use=SLOTS if queue else SLOTS // 2, waiting=int(queue * 4), queue_wait_sec=queue)


IDLE = Capacity([])


def cold_starts(*, seconds: float, seed: int) -> Capacity:
    """Every minute or two a replica is lost: a queue grows until another is ready, 15-40 s later, and is worked off."""
    waits = _queue(random.Random(seed))
    return Capacity([next(waits) for _ in range(int(seconds / STEP_SEC))])


def _queue(dice: random.Random) -> Iterator[float]:
    while True:
        for _ in range(int(dice.uniform(40.0, 120.0) / STEP_SEC)):
            yield 0.0
        queue, growth = 0.0, dice.uniform(0.04, 0.25)
        for _ in range(int(dice.uniform(15.0, 40.0) / STEP_SEC)):
            queue = min(queue + growth * STEP_SEC, LONGEST_QUEUE_SEC)
            yield max(queue + dice.gauss(0.0, 0.1), 0.0)
        while queue > 0.0:
            queue -= 0.5 * STEP_SEC
            yield max(queue, 0.0)
