"""How full somebody who answers turns is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a replica, or several added up, tells of itself.

    Args:
        slots: how many replies it can give at once
        in_use: how many it is giving
        waiting: how many were asked for and have not begun
        queue_wait_sec: how long the next one would wait before it begins
        first_audio_p95_sec: from the question to the first sound, over the last minute; None while nobody asked
    """

    slots: int
    in_use: int
    waiting: int = 0
    queue_wait_sec: float = 0.0
    first_audio_p95_sec: float | None = None

    @property
    def occupancy(self) -> float:
        """The share of slots that are taken or spoken for; above 1 where some must wait."""
        return (self.in_use + self.waiting) / self.slots if self.slots else 1.0
