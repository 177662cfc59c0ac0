"""The caller's microphone: it plays recordings into the call, never stops, and knows when each sample passed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge_client.caller.loudness import Span, speech_span
from edge_client.caller.measure import Interval
from routing.errors import InvalidRequest
from routing.turns import REPLY_SAMPLE_RATE, Samples

MICROPHONE_RATE = REPLY_SAMPLE_RATE  # the rate our Opus encoder takes
LONGEST_LATENESS_SEC = 0.04  # a reader later than this has lost its pace, and starts a new one


@dataclass(slots=True)
class _Recording:
    samples: Samples
    speech: Span
    on_spoken: Callable[[Interval], None]
    position: int = 0
    began_at: float = 0.0


class Microphone:
    """Mono sound at `MICROPHONE_RATE`, read in real time; silence before, between and after the recordings.

    A block that is read at a moment was captured until that moment, as from a real microphone: its last sample is
    the newest. A reader that is a little late does not make the samples any younger, and none is read before it was
    captured.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting: deque[_Recording] = deque()
        self._captured_until: float | None = None

    def say(self, samples: Samples, on_spoken: Callable[[Interval], None]) -> None:
        """Play a recording after those that wait. ``on_spoken`` gets the moments of its first and last speech sample.

        Raises:
            InvalidRequest: there is nothing to hear in it.
        """
        speech = speech_span(samples, MICROPHONE_RATE)
        if speech is None:
            raise InvalidRequest("expected a recording with speech in it, got silence")
        self._waiting.append(_Recording(samples, speech, on_spoken))

    def read(self, count: int) -> Samples:
        """The next ``count`` samples, captured until now."""
        begin = self._advance(count)
        block = np.zeros(count, np.float32)
        filled = 0
        while self._waiting and filled < count:
            filled += self._play(self._waiting[0], block[filled:], begin + filled / MICROPHONE_RATE)
        return block

    def _advance(self, count: int) -> float:
        """When the first sample of the next block was captured."""
        now, duration = self._clock(), count / MICROPHONE_RATE
        due = None if self._captured_until is None else self._captured_until + duration
        in_pace = due is not None and 0 <= now - due <= LONGEST_LATENESS_SEC
        self._captured_until = due if in_pace and due is not None else now
        return self._captured_until - duration

    def _play(self, recording: _Recording, room: Samples, at: float) -> int:
        part = recording.samples[recording.position : recording.position + len(room)]
        room[: len(part)] = part
        self._tell(recording, Span(recording.position, recording.position + len(part)), at)
        recording.position += len(part)
        if recording.position == len(recording.samples):
            self._waiting.popleft()
        return len(part)

    def _tell(self, recording: _Recording, part: Span, at: float) -> None:
        speech = recording.speech
        if part.begin <= speech.begin < part.end:
            recording.began_at = at + (speech.begin - part.begin) / MICROPHONE_RATE
        if part.begin < speech.end <= part.end:
            end = at + (speech.end - part.begin) / MICROPHONE_RATE
            recording.on_spoken(Interval(recording.began_at, end))
