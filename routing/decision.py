"""What was known and what was chosen when a turn was over."""

from __future__ import annotations

from dataclasses import dataclass

from routing.policy import Choice, DeviceState, Prospect, Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """``at`` is in seconds since 1970, ``decided_at`` a moment of the loop's clock; from then on it took so long."""

    at: float
    decided_at: float
    decided_sec: float
    question: Question
    prospects: tuple[Prospect, ...]
    device: DeviceState
    choice: Choice
