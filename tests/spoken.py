"""What people say in conversations with the edge: synthesised, so that every word is known."""

from __future__ import annotations

from functools import cache
from threading import Lock

import numpy as np
from hibari import Hibari

from routing.turns import REPLY_SAMPLE_RATE, Samples

_one_at_a_time = Lock()


@cache
def spoken(text: str) -> Samples:
    """``text`` said aloud: float32 ``[n]`` at 24 kHz, the same on every call. Blocks; call it on a thread."""
    with _one_at_a_time:
        return np.asarray(synthesiser()(text, seed=7), dtype=np.float32)


@cache
def synthesiser() -> Hibari:
    return Hibari()


def silence(duration_sec: float) -> Samples:
    return np.zeros(round(duration_sec * REPLY_SAMPLE_RATE), dtype=np.float32)
