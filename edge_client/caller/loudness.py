"""Where in a recording something can be heard."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from routing.turns import Samples

WINDOW_SEC = 0.0025  # loudness is judged in windows of this length: the error of every onset found here
AUDIBLE_RMS = 10 ** (-50 / 20)  # below this a reply counts as silence: well above codec noise, far below speech
FAINTEST_SAMPLE = 1.5 / 32768  # decoded silence strays from zero by one step of 16 bits, and nothing else does
FAINTEST_RMS = 10 ** (-70 / 20)  # no recorded speech is as quiet as this
BRIDGE_SEC = 0.15  # the closure of a "t" is not the end of a word
CLICK_SEC = 0.02  # anything shorter, standing alone, is not speech
BELOW_PEAK = 10 ** (-40 / 20)  # speech reaches this far down from its loudest window
ABOVE_NOISE = 10 ** (9 / 20)  # and stands this far out of the room's noise


class Span(NamedTuple):
    """Samples ``[begin, end)``."""

    begin: int
    end: int


def is_audible(samples: Samples, sample_rate: int) -> bool:
    """Whether anything in it can be heard, be it only the onset of a sound at its very end."""
    loudness = _window_rms(samples, _window(sample_rate))
    return bool(len(loudness)) and float(loudness.max()) > AUDIBLE_RMS


def audible_spans(
    samples: Samples, sample_rate: int, *, threshold: float = AUDIBLE_RMS, bridge_sec: float = BRIDGE_SEC
) -> list[Span]:
    """The stretches louder than ``threshold``; pauses up to ``bridge_sec`` do not divide them, clicks are left out."""
    window = _window(sample_rate)
    runs = _runs(_window_rms(samples, window) > threshold)
    bridged = _bridge(runs, int(bridge_sec * sample_rate / window))
    least = CLICK_SEC * sample_rate / window
    return [Span(a * window, min(b * window, len(samples))) for a, b in bridged if b - a >= least]


def speech_span(samples: Samples, sample_rate: int) -> Span | None:
    """From the first to the last sample of speech in a recording, or None where there is none."""
    spans = audible_spans(samples, sample_rate, threshold=speech_threshold(samples, sample_rate))
    return Span(spans[0].begin, spans[-1].end) if spans else None


def speech_threshold(samples: Samples, sample_rate: int) -> float:
    """The RMS that divides a recording's speech from its background."""
    rms = _window_rms(samples, _window(sample_rate))
    if not len(rms):
        return FAINTEST_RMS
    noise = float(np.quantile(rms, 0.1)) * ABOVE_NOISE
    peak = float(rms.max())
    return max(min(noise, peak / 4), peak * BELOW_PEAK, FAINTEST_RMS)


def _window(sample_rate: int) -> int:
    return int(WINDOW_SEC * sample_rate)


def _window_rms(samples: Samples, window: int) -> NDArray[np.float64]:
    padded = np.pad(samples.astype(np.float64), (0, -len(samples) % window))
    return np.sqrt(np.mean(padded.reshape(-1, window) ** 2, axis=1))


def _runs(loud: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], loud, [False]))))
    return [(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]


def _bridge(runs: list[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    if not runs:
        return []
    cuts = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(runs)) if b[0] - a[1] > gap), len(runs)]
    return [(runs[first][0], runs[last - 1][1]) for first, last in pairwise(cuts)]
