"""smart-turn: how likely what was said is complete, judged by its sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from edge_client.models.onnx import open_session
from routing.turns import SPEECH_SAMPLE_RATE, Samples

WINDOW_SAMPLES = 8 * SPEECH_SAMPLE_RATE  # the model looks at the last 8 s
FFT_SAMPLES = 400
HOP_SAMPLES = 160
FRAMES = WINDOW_SAMPLES // HOP_SAMPLES  # 800
BINS = FFT_SAMPLES // 2 + 1
MELS = 80
POWER_FLOOR = 1e-10
VARIANCE_FLOOR = 1e-7
DYNAMIC_RANGE = 8.0  # in powers of ten below the loudest
# BLAS starts threads for a product above a certain size, and they spin. Blocks of 16 frames stay below it.
BLOCK_FRAMES = 16


class SmartTurn:
    """The graph and the features it reads."""

    def __init__(self, path: Path) -> None:
        self._session = open_session(path)

    def completeness(self, samples: Samples) -> float:
        """P(the turn is complete), from the turn so far (16 kHz); only the last 8 s count.

        Ask for it at the first sign of a pause: trailing silence makes anything sound complete.
        """
        inputs = {"input_features": log_mel(last_window(samples))[np.newaxis]}
        (probability,) = self._session.run(["logits"], inputs)  # a probability, despite its name
        return float(probability[0, 0])


def last_window(samples: Samples) -> Samples:
    """The last 8 s, with silence in front where there is less."""
    window = np.zeros(WINDOW_SAMPLES, np.float32)
    kept = samples[-WINDOW_SAMPLES:]
    window[WINDOW_SAMPLES - len(kept) :] = kept
    return window


def log_mel(window: Samples) -> Samples:
    """Log-mel features ``[80, 800]`` of 8 s, as Whisper has them: float32 all through, which is exact to 1e-4."""
    power = _power_spectrum((window - window.mean()) / np.sqrt(window.var() + VARIANCE_FLOOR))
    blocks = power.reshape(-1, BLOCK_FRAMES, BINS)
    decades = np.log10(np.maximum(blocks @ _MEL_FILTERS, POWER_FLOOR)).reshape(FRAMES, MELS)
    decades = np.maximum(decades, decades.max() - DYNAMIC_RANGE)
    return np.ascontiguousarray((decades.T + 4.0) / 4.0)


def _power_spectrum(samples: Samples) -> Samples:
    """``[800, 201]``: one row every 10 ms, centred on its time, with the sound mirrored at both ends."""
    padded = np.pad(samples, FFT_SAMPLES // 2, mode="reflect")
    frames = sliding_window_view(padded, FFT_SAMPLES)[::HOP_SAMPLES][:FRAMES]
    spectrum = np.fft.rfft(frames * _HANN)
    power: Samples = np.square(spectrum.real) + np.square(spectrum.imag)
    return power


def _mel_filters() -> Samples:
    """``[201, 80]``: triangles of equal area, evenly spread on Slaney's mel scale from 0 to 8 kHz."""
    nyquist = SPEECH_SAMPLE_RATE / 2
    corners = _hertz(np.linspace(0.0, _mel(nyquist), MELS + 2))
    low, centre, high = corners[:-2], corners[1:-1], corners[2:]
    bins = np.linspace(0.0, nyquist, BINS)[:, np.newaxis]
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    return (np.maximum(triangles, 0.0) * 2.0 / (high - low)).astype(np.float32)


# Slaney's scale: linear up to 1 kHz (3 mels for each 200 Hz), then 27 mels for each factor of 6.4.
_KNEE_HERTZ = 1000.0
_KNEE_MEL = 15.0
_MELS_PER_FACTOR_E = 27.0 / np.log(6.4)


def _mel(hertz: float) -> float:
    """Above the knee, which is all that is asked for."""
    return float(_KNEE_MEL + np.log(hertz / _KNEE_HERTZ) * _MELS_PER_FACTOR_E)


def _hertz(
    mels: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    logarithmic = _KNEE_HERTZ * np.exp((mels - _KNEE_MEL) / _MELS_PER_FACTOR_E)
    return np.where(mels < _KNEE_MEL, mels * _KNEE_HERTZ / _KNEE_MEL, logarithmic)


_HANN = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT_SAMPLES) / FFT_SAMPLES)).astype(np.float32)
_MEL_FILTERS = _mel_filters()
