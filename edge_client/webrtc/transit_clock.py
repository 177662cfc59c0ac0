"""When sound of a sender should arrive, from when the rest of it did."""

from __future__ import annotations

from collections import deque

WINDOW_SEC = 10.0  # at 100 ppm two clocks part by 1 ms in this time
_PART_SEC = 1.0  # the window moves on in steps of this
CALMING_PER_SEC = 0.010  # so much less of an old lateness is expected again after each second
WORST_LATENESS_SEC = 0.2  # more is an accident, and not expected to happen again


class TransitClock:
    """Follows one sender's clock: ``rtp_sec`` counts on it, ``arrived_at`` on ours.

    Nobody knows when a packet left, but the fastest of the last `WINDOW_SEC` was delayed least: the others are measured
    against it. The window lets the base line follow clocks that drift apart, and a network that becomes slower.
    """

    def __init__(self) -> None:
        self._base = 0.0  # the least of `_least`
        self._least: deque[tuple[float, float]] = deque()  # (begin, fastest transit) of each part of the window
        self._lateness = 0.0
        self._late_at = 0.0

    def feed(self, rtp_sec: float, arrived_at: float) -> float:
        """Sound of ``rtp_sec`` has arrived; returns by how much it took longer than the fastest."""
        transit = arrived_at - rtp_sec
        parts = self._least
        if not parts or arrived_at >= parts[-1][0] + _PART_SEC:
            self._begin_part(transit, arrived_at)
        elif transit < parts[-1][1]:
            parts[-1] = (parts[-1][0], transit)
            self._base = min(self._base, transit)
        delay = transit - self._base
        if delay > self.lateness(arrived_at):
            self._lateness, self._late_at = min(delay, WORST_LATENESS_SEC), arrived_at
        return delay

    def _begin_part(self, transit: float, arrived_at: float) -> None:
        parts = self._least
        parts.append((arrived_at, transit))
        while parts[0][0] < arrived_at - WINDOW_SEC:
            parts.popleft()
        self._base = min(least for _, least in parts)

    def expected_at(self, rtp_sec: float) -> float:
        """When sound of ``rtp_sec`` arrives at the earliest."""
        return self._base + rtp_sec

    def lateness(self, now: float) -> float:
        """How much later than the earliest it may well be: the worst that was seen, slowly forgotten."""
        return max(self._lateness - (now - self._late_at) * CALMING_PER_SEC, 0.0)
