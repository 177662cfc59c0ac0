"""Takes the loudspeaker's sound out of the microphone's, for callers without a browser to do it."""

from __future__ import annotations

import numpy as np

from routing.errors import SettingsError
from routing.turns import Samples

FRAMES_PER_SEC = 100  # the canceller works on 10 ms at a time


class EchoCanceller:
    """Mono sound at one rate, 8 kHz or more. ``delay_ms`` is the time from a sample's playing to its recording.

    Use one object from one thread. Noise is left in: speech recognition does better with it.
    """

    def __init__(self, sample_rate: int, delay_ms: int) -> None:
        try:
            from pywebrtc_audio import AudioProcessor
        except ImportError as exc:
            raise SettingsError("echo cancellation needs an extra: pip install 'antiphon[talk]'") from exc
        self._processor = AudioProcessor(sample_rate, echo_cancellation=True, stream_delay_ms=delay_ms)
        self._frame = sample_rate // FRAMES_PER_SEC
        self._near: Samples = np.zeros(0, np.float32)
        self._far: Samples = np.zeros(0, np.float32)

    def process(self, near: Samples, far: Samples) -> Samples:
        """Clean what was recorded (``near``) of what was played meanwhile (``far``, of the same length).

        Blocks may have any length. What comes back are the whole frames of 10 ms so far, perhaps none; the rest comes
        with the next block.
        """
        assert len(near) == len(far), f"{len(near)} samples recorded, {len(far)} played"
        self._near = np.concatenate([self._near, near])
        self._far = np.concatenate([self._far, far])
        return self._clean(len(self._near) // self._frame * self._frame)

    def _clean(self, count: int) -> Samples:
        if not count:
            return np.zeros(0, np.float32)
        cleaned: Samples = self._processor.process(self._near[:count], self._far[:count])
        self._near = self._near[count:]
        self._far = self._far[count:]
        return cleaned

    def reset(self) -> None:
        """Forget everything heard: another room, or another conversation."""
        self._processor.reset()
        self._near = self._near[:0]
        self._far = self._far[:0]
