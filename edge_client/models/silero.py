"""Silero VAD: how likely each 32 ms of sound hold speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_client.models.onnx import open_session
from routing.turns import SPEECH_SAMPLE_RATE, Samples

VAD_FRAME_SAMPLES = 512  # the only size the model takes at 16 kHz
CONTEXT_SAMPLES = 64  # of the frame before, put in front of each frame
STATE_SHAPE = (2, 1, 128)


class SileroModel:
    """The graph, shared by all streams."""

    def __init__(self, path: Path) -> None:
        self._session = open_session(path)
        self._sample_rate = np.array(SPEECH_SAMPLE_RATE, np.int64)

    def detector(self) -> VoiceActivityDetector:
        """A detector for one stream, at its beginning."""
        return VoiceActivityDetector(self)

    def step(self, window: Samples, state: Samples) -> tuple[float, Samples]:
        """The probability of speech in context and frame together, and the state for the next step."""
        inputs = {"input": window[np.newaxis], "state": state, "sr": self._sample_rate}
        output, next_state = self._session.run(["output", "stateN"], inputs)
        return float(output[0, 0]), next_state


class VoiceActivityDetector:
    """What the model remembers of one stream of sound."""

    def __init__(self, model: SileroModel) -> None:
        self._model = model
        self._state = np.zeros(STATE_SHAPE, np.float32)
        self._window = np.zeros(CONTEXT_SAMPLES + VAD_FRAME_SAMPLES, np.float32)

    def probability(self, frame: Samples) -> float:
        """How likely the next `VAD_FRAME_SAMPLES` samples of the stream (16 kHz) hold speech."""
        assert frame.shape == (VAD_FRAME_SAMPLES,), f"expected {VAD_FRAME_SAMPLES} samples, got {frame.shape}"
        self._window[:CONTEXT_SAMPLES] = self._window[-CONTEXT_SAMPLES:]
        self._window[CONTEXT_SAMPLES:] = frame
        probability, self._state = self._model.step(self._window, self._state)
        return probability
