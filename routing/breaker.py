"""A circuit that opens where a backend keeps failing, so that no turn waits for it in vain.

::

    closed ──`failures` in a row──▶ open ──its time is over, or it is heard of again──▶ half open
      ▲                              ▲                                                  │      │
      │                              └───────── the probe failed: twice as long ────────┘      │
      └──────────────────────────────────────── the probe succeeded ───────────────────────────┘

Half open, one turn is let through as a probe; the others are turned away until it is known what became of it. A
heartbeat that comes back opens the circuit half way and no further: it shows that somebody is there, not that they can
answer. And it does so only where heartbeats had been missed: where they came all the while that the turns failed,
one more of them is no news.
"""

from __future__ import annotations

from typing import Literal

type BreakerState = Literal["closed", "open", "half open"]


class Breaker:
    """Every method takes ``now``, in seconds of a clock that only goes forward.

    Args:
        failures: so many in a row open the circuit
        open_sec: how long it is open the first time; twice as long each time that a probe fails
        longest_sec: and at most so long
        probe_sec: a probe of which nothing was heard for so long is forgotten, and another let through
    """

    def __init__(
        self, *, failures: int = 3, open_sec: float = 1.0, longest_sec: float = 60.0, probe_sec: float = 15.0
    ) -> None:
        self._limit = failures
        self._first_open_sec = open_sec
        self._longest_sec = longest_sec
        self._probe_sec = probe_sec
        self._failures = 0
        self._open_sec = open_sec
        self._open_until: float | None = None  # None while closed
        self._probing_since: float | None = None
        self._full_until = 0.0
        self._was_silent = False

    def state(self, now: float) -> BreakerState:
        if self._open_until is None:
            return "closed"
        return "open" if now < self._open_until else "half open"

    def why_not(self, now: float) -> str | None:
        """Why it must not be asked now, in two words; None where it may."""
        if now < self._full_until:
            return "at capacity"
        if self.state(now) == "open" or self._is_probed(now):
            return "circuit open"
        return None

    def note_asked(self, now: float) -> None:
        """A turn was sent there. Half open, it is the probe."""
        if self.state(now) == "half open" and not self._is_probed(now):
            self._probing_since = now

    def note_success(self) -> None:
        """It answered: the circuit closes, and what was before is forgotten."""
        self._failures = 0
        self._open_sec = self._first_open_sec
        self._open_until = None
        self._probing_since = None
        self._full_until = 0.0

    def note_failure(self, now: float) -> None:
        """It did not answer as it should."""
        self._failures += 1
        state = self.state(now)
        if state == "half open":
            self._open_sec = min(self._open_sec * 2, self._longest_sec)
        if state == "half open" or (state == "closed" and self._failures >= self._limit):
            self._open(now)

    def hold(self, seconds: float, now: float) -> None:
        """It is full and asks to be left alone for so long, which is no failure. At most as long as the longest."""
        self._full_until = max(self._full_until, now + min(max(seconds, 0.0), self._longest_sec))
        self._probing_since = None

    def note_let_go(self) -> None:
        """A turn that was sent there ended without telling anything: if it was the probe, another may be."""
        self._probing_since = None

    def note_silence(self) -> None:
        """A heartbeat was missed."""
        self._was_silent = True

    def note_heartbeat(self, now: float) -> None:
        """A heartbeat came back. After silence an open circuit need not wait any longer to be probed."""
        if self._was_silent and self._open_until is not None:
            self._open_until = min(self._open_until, now)
        self._was_silent = False

    def _open(self, now: float) -> None:
        self._open_until = now + self._open_sec
        self._probing_since = None

    def _is_probed(self, now: float) -> bool:
        return self._probing_since is not None and now - self._probing_since < self._probe_sec
