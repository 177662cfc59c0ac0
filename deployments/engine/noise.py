"""Chance that is a pure function of its place: who, which step, which of the step's draws.

So a reply never depends on who shares its batch, and a step that is run twice comes to the same result.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_BITS = 23  # of a draw: one more and the greatest would be rounded to 1


def uniform(seed: int, step: int, streams: int) -> NDArray[np.float32]:
    """Numbers in the open interval (0, 1), float32 [streams]: the first of eight is the same as the first of one."""
    draws: NDArray[np.float32] = uniforms([seed], [step], streams)[0]
    return draws


def uniforms(seeds: Sequence[int], steps: Sequence[int], streams: int) -> NDArray[np.float32]:
    """The same for several at a time: float32 [len(seeds), streams]. Seeds are any whole numbers.

    A counter goes through SplitMix64 (Steele, Lea and Flood 2014) twice: once with the seed, once with the place.
    """
    keys = _mixed(np.array([seed & 0xFFFFFFFFFFFFFFFF for seed in seeds], dtype=np.uint64))
    places = (np.array(steps, dtype=np.uint64) << np.uint64(16))[:, None] | np.arange(streams, dtype=np.uint64)
    bits = _mixed(_mixed(places) ^ keys[:, None]) >> np.uint64(64 - _BITS)
    return ((bits.astype(np.float64) + 0.5) * 2.0**-_BITS).astype(np.float32)


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    numbers = numbers + _GOLDEN
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
