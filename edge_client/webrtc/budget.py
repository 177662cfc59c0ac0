"""How much a stranger may ask for: so much a second, with some saved up for a busy moment. Sans-I/O."""

from __future__ import annotations


class Budget:
    """A bucket of ``saved`` units, filled again at ``per_sec``. Time is passed in, in seconds."""

    def __init__(self, *, per_sec: float, saved: float) -> None:
        self._per_sec = per_sec
        self._most = saved
        self._left = saved
        self._at: float | None = None

    def spend(self, now: float) -> bool:
        """Take one unit; False where nothing is left."""
        if self._at is not None:
            self._left = min(self._left + max(now - self._at, 0.0) * self._per_sec, self._most)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
