"""How much a stranger may ask for: so much a second, with some saved up for a busy moment. Sans-I/O."""

from __future__ import annotations


class Budget:
    """A bucket of ``saved`` units, filled again at ``per_sec``. Time is passed in, in seconds."""

    def __init__(self, *, per_sec: float, saved: float) -> None:
        self._per_sec = per_sec
        self.most = saved
        self._left = saved
        self._at: float | None = None

    def spend(self, now: float, units: float = 1.0) -> bool:
        """Take so many units; False where fewer are left, which then stay."""
        self._fill(now)
        if self._left < units:
            return False
        self._left -= units
        return True

    def charge(self, now: float, units: float = 1.0) -> None:
        """Take so many units that were used already. Where fewer are left they are owed, never more than these."""
        self._fill(now)
        self._left = max(self._left - units, -units)

    def wait_sec(self, now: float, units: float = 1.0) -> float:
        """How long until so many units are there, which must be no more than can be saved."""
        self._fill(now)
        return max(units - self._left, 0.0) / self._per_sec

    def _fill(self, now: float) -> None:
        if self._at is not None:
            self._left = min(self._left + max(now - self._at, 0.0) * self._per_sec, self.most)
        self._at = now
