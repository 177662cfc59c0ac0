"""What is compared: a model that answers a number of callers at once, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

type Clock = Callable[[], float]


class Side(Protocol):
    """One of the two that are measured, with ``batch`` callers who ask at the same moment and speak in lock step.

    When a method returns, what it made is on the host. ``clock`` is what an audio step reads before and after the
    making of sound: seconds, or any other count that goes up with the work.
    """

    clock: Clock

    @property
    def name(self) -> str: ...

    @property
    def batch(self) -> int: ...

    @property
    def positions(self) -> int:
        """Positions of context that each caller's reply has by now."""
        ...

    def begin(self) -> None:
        """A turn of each caller, from the samples of what was said to the first token."""
        ...

    def text_step(self) -> None:
        """One token for each caller."""
        ...

    def audio_step(self) -> float:
        """One frame and its sound for each caller. Returns how much of it, on ``clock``, went into the sound."""
        ...

    def end(self) -> None:
        """The turn is over; forget it."""
        ...
