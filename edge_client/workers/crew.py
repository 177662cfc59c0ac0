"""The workers of one edge, as one of them sees them: who is how busy, and whose call an id names."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import replace

from edge_client.workers.board import Board, Load
from edge_client.workers.siblings import Siblings

PROMISE_SEC = 0.5  # within which who was let in has a place, or never will

_NAMED = re.compile(r"[a-z]+_w(\d+)_")


def share(maximum_sessions: int, *, workers: int, number: int) -> int:
    """How many of the edge's sessions one worker may have."""
    each, more = divmod(maximum_sessions, workers)
    return each + (number < more)


def marked(prefix: str, worker: int) -> str:
    """The prefix of ids that name their worker: ``rtc`` becomes ``rtc_w1``."""
    return f"{prefix}_w{worker}"


def named_worker(identifier: str) -> int | None:
    """The worker that made this id, if it says so."""
    match = _NAMED.match(identifier)
    return int(match[1]) if match else None


class Crew:
    """One worker's view: of its own sessions, and of what the others wrote on the board."""

    def __init__(
        self,
        *,
        number: int,
        places: int,
        signing_key: bytes,
        board: Board,
        siblings: Siblings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.number = number
        self.signing_key = signing_key  # of client secrets: the same for all workers
        self.siblings = siblings
        self._own = Load(number, 0, places)
        self._board = board
        self._clock = clock
        self._promises = deque[tuple[float, int]]()  # until when, and at which worker

    def mark(self, prefix: str) -> str:
        return marked(prefix, self.number)

    # -- this worker -------------------------------------------------------------------------------------------------

    def report(self, sessions: int) -> None:
        """Tell all workers how many sessions there are here."""
        for _ in range(sessions - self._own.sessions):
            self._redeem()
        self._own = replace(self._own, sessions=sessions)
        self.beat()

    def beat(self) -> None:
        """Tell all workers that this one lives; often enough, or they take it for stuck."""
        self._board.write(self._own, now=self._clock())

    # -- all workers -------------------------------------------------------------------------------------------------

    def _loads(self) -> list[Load]:
        others = (load for load in self._board.loads(now=self._clock()) if load.worker != self.number)
        return [self._own, *others]

    def sessions(self) -> int:
        """Of all workers."""
        return sum(load.sessions for load in self._loads())

    def emptiest(self) -> list[int]:
        """The workers that may have a place, the one with most of them first; this one where it is equal.

        At the end come those whose places may all be promised.
        """
        loads = self._loads()
        likely, possible = _with_places(self._with_promises(loads)), _with_places(loads)
        return likely + [worker for worker in possible if worker not in likely]

    @property
    def full(self) -> bool:
        """Whether all places here are taken or promised."""
        return self._with_promises([self._own])[0].free <= 0

    def taker(self, *, known_full: Collection[int] = ()) -> int:
        """Who should take a connection; this one where nobody can."""
        return next((worker for worker in self.emptiest() if worker not in known_full), self.number)

    # -- promises: sessions that are about to begin ------------------------------------------------------------------

    def promise(self, worker: int) -> None:
        """A session was sent there. It counts before it has its place, or a crowd would be sent to the same worker."""
        self._promises.append((self._clock() + PROMISE_SEC, worker))

    def _with_promises(self, loads: list[Load]) -> list[Load]:
        while self._promises and self._promises[0][0] < self._clock():
            self._promises.popleft()
        promised = [worker for _, worker in self._promises]
        return [replace(load, sessions=load.sessions + promised.count(load.worker)) for load in loads]

    def _redeem(self) -> None:
        """A session has its place here."""
        kept = next((promise for promise in self._promises if promise[1] == self.number), None)
        if kept:
            self._promises.remove(kept)


def _with_places(loads: list[Load]) -> list[int]:
    free = [load for load in loads if load.free > 0]
    return [load.worker for load in sorted(free, key=lambda load: -load.free)]
