"""What a model tells of turns that it worked on together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some work for several turns at once, such as a step of an engine.

    Args:
        began: in seconds on the monotonic clock
        ended: likewise
        size: turns in it
        admitted: ids of those whose waiting it ended
        prefill_tokens: positions of prompts that were read in it
    """

    began: float
    ended: float
    size: int
    admitted: tuple[str, ...] = ()
    prefill_tokens: int = 0
