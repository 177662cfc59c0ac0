"""A reply of rising tones: which of them were heard, how often and in which order can be told from a recording."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import numpy as np

from routing.turns import REPLY_SAMPLE_RATE, AudioChunk, Heard, ReplyEnd, ReplyEvent, Samples, TextDelta, Turn
from tests.scripted import Script, tone

STEP_SEC = 0.1
LOWEST_HZ = 400.0
HZ_PER_STEP = 60.0
RECORDING_RATE = 16_000
_WINDOW = 640  # 40 ms
_FINENESS = 8  # points of the spectrum for each that the window has
_QUIETEST = 0.1
_WINDOWS = 2  # a step is heard in so many in a row; what conceals a lost packet rarely holds a pitch that long


def pitch(number: int) -> float:
    return LOWEST_HZ + HZ_PER_STEP * number


def scale(steps: int = 30) -> Script:
    """Understand a request, and answer with so many steps."""

    async def script(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        if len(audio):
            yield Heard("sing me a scale", is_final=True, end_of_sentence=1.0)
        yield TextDelta("la la la")
        for number in range(steps):
            yield AudioChunk(tone(STEP_SEC, frequency=pitch(number)), REPLY_SAMPLE_RATE)
        yield ReplyEnd()

    return script


def steps_heard(samples: Samples) -> list[int]:
    """The steps in a recording at 16 kHz, each as often as it begins."""
    heard: list[int] = []
    candidate, seen = None, 0
    for start in range(0, len(samples) - _WINDOW, _WINDOW // 2):
        number = _step_in(samples[start : start + _WINDOW])
        seen = seen + 1 if number == candidate else 1
        candidate = number
        if number is not None and seen == _WINDOWS and heard[-1:] != [number]:
            heard.append(number)
    return heard


def _step_in(block: Samples) -> int | None:
    if np.sqrt(np.mean(block**2)) < _QUIETEST:
        return None
    spectrum = np.abs(np.fft.rfft(block * np.hanning(_WINDOW), _FINENESS * _WINDOW))
    frequency = float(np.argmax(spectrum)) * RECORDING_RATE / (_FINENESS * _WINDOW)
    number = round((frequency - LOWEST_HZ) / HZ_PER_STEP)
    return number if abs(frequency - pitch(number)) < HZ_PER_STEP / 4 else None
