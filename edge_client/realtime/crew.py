"""The workers of one edge, as one of them sees them: who is how busy, and whose call an id names."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from edge_client.realtime.board import Board, Load
from edge_client.realtime.siblings import Siblings

UNEVEN = 2  # sessions more than another worker has, from which on new connections are left to it

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
    """One worker's view. ``on_change`` is told when the own sessions became more or fewer."""

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
        self.on_change: Callable[[], None] = lambda: None
        self._places = places
        self._sessions = 0
        self._board = board
        self._clock = clock

    def mark(self, prefix: str) -> str:
        return marked(prefix, self.number)

    def report(self, sessions: int) -> None:
        """Tell all workers how many sessions there are here."""
        self._sessions = sessions
        self.beat()
        self.on_change()

    def beat(self) -> None:
        """Tell all workers that this one lives; often enough, or they take it for stuck."""
        self._board.write(self._own, now=self._clock())

    @property
    def _own(self) -> Load:
        return Load(self.number, self._sessions, self._places)

    def _others(self) -> list[Load]:
        return [load for load in self._board.loads(now=self._clock()) if load.worker != self.number]

    def sessions(self) -> int:
        """Of all workers."""
        return self._own.sessions + sum(load.sessions for load in self._others())

    def emptiest(self) -> list[int]:
        """The workers that should take a new call, the one with most free places first; this one where it is equal."""
        free = [load for load in (self._own, *self._others()) if load.free > 0]
        return [load.worker for load in sorted(free, key=lambda load: -load.free)]

    def welcomes(self) -> bool:
        """Whether this worker should take new connections, or leave them to one that has clearly less to do."""
        others = self._others()
        if self._own.free <= 0:
            return not any(load.free > 0 for load in others)
        return all(self._own.sessions - load.sessions < UNEVEN for load in others if load.free > 0)
