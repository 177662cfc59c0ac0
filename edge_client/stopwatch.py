"""How long each phase of a reply took."""

from __future__ import annotations

from collections.abc import Callable, Mapping


class Stopwatch:
    """``now`` gives seconds, from any beginning."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._started = self._last = now()
        self._laps: dict[str, float] = {}

    def lap(self, phase: str) -> None:
        """The phase ends here; it began where the one before it ended. Only its first end counts."""
        if phase in self._laps:
            return
        now = self._now()
        self._laps[phase] = 1000 * (now - self._last)
        self._last = now

    def laps_ms(self) -> Mapping[str, float]:
        """Each phase in the order it was done, and behind them the total."""
        return {**self._laps, "total": 1000 * (self._now() - self._started)}
