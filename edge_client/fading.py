"""Where in a frame its sound ends: a voice detector hears speech for a while after the last of it."""

from __future__ import annotations

import numpy as np

from routing.turns import SPEECH_SAMPLE_RATE, Samples

WINDOW_SAMPLES = SPEECH_SAMPLE_RATE // 125  # 8 ms
BELOW_PEAK = 10 ** (-40 / 20)  # of the loudest window of late: quieter than the end of any word
MEMORY_SEC = 3.0  # for the peak to fall by half


class Fading:
    """Follows how loud one stream is. Where the room is as loud as faint speech, every frame sounds to its end."""

    def __init__(self) -> None:
        self._peak = 0.0

    def sound(self, frame: Samples) -> int:
        """How many of the frame's samples there are until its last window that is not quiet has ended."""
        windows = frame.reshape(-1, WINDOW_SAMPLES)
        power = np.einsum("ij,ij->i", windows, windows) / WINDOW_SAMPLES
        self._peak = max(self._peak * 0.5 ** (len(frame) / SPEECH_SAMPLE_RATE / MEMORY_SEC), float(power.max()))
        loud = np.flatnonzero(power > self._peak * BELOW_PEAK**2)
        return int(loud[-1] + 1) * WINDOW_SAMPLES if len(loud) else 0
