"""When a session is given its ticket, and when it is let go. Sans-I/O; time is passed in, in seconds."""

from __future__ import annotations

from typing import Literal

SETTLED_SEC = 0.2  # of rest: who gives a tool's result asks for a reply in the same breath
RENEWED_SEC = 90.0  # after which a ticket that nobody used is written anew, well before it expires
MOVING_SEC = 3.0  # for who got a ticket to use it
LAST_CALL_SEC = 10.0  # before the deadline: from then on sessions are let go as soon as they rest

type Step = Literal["wait", "ticket", "leave"]


class Departure:
    """One session of an edge that drains from ``now`` until ``deadline``."""

    def __init__(self, *, now: float, deadline: float) -> None:
        self._deadline = deadline
        self._last_call = deadline - min(LAST_CALL_SEC, (deadline - now) / 2)
        self._mark: object = None
        self._rests_since: float | None = None
        self._written: tuple[object, float] | None = None  # for which mark the ticket was, and when

    def look(self, mark: object | None, now: float) -> Step:
        """What to do now. ``mark`` is other than before where the session is; None while it is not at rest."""
        if now >= self._deadline:
            return "leave"
        if mark is None or mark != self._mark or self._rests_since is None:
            self._mark, self._rests_since = mark, now
        if mark is None or now - self._rests_since < SETTLED_SEC:
            return "wait"
        return self._at_rest(mark, now)

    def take_back(self) -> None:
        """The last ticket was not given: the session went on while it was written, and is due another one."""
        self._written = None

    def _at_rest(self, mark: object, now: float) -> Step:
        if self._written is None or self._written[0] != mark or now - self._written[1] >= RENEWED_SEC:
            self._written = mark, now
            return "ticket"
        moving = now - self._written[1] < MOVING_SEC
        return "leave" if now >= self._last_call and not moving else "wait"
