"""Something to ask: a recording, and the words in it where they are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_client.audio import read_audio
from edge_client.caller.loudness import audible_spans, speech_threshold
from edge_client.caller.microphone import MICROPHONE_RATE
from routing.turns import Samples

SENTENCE_PAUSE_SEC = 0.25  # silence that divides what is read aloud
LEAST_SENTENCE_SEC = 1.5
LEAD_SEC = 0.2  # of the recording kept on both sides of what is cut out of it


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """``samples`` are mono at `MICROPHONE_RATE`; ``text`` is what they say, or where they came from."""

    text: str
    samples: Samples
    synthesised: bool = False


def recorded(path: Path) -> Question:
    """A question from a sound file.

    Raises:
        InvalidRequest: there is no such file, or no sound in it.
    """
    return Question(path.name, read_audio(path, MICROPHONE_RATE))


def synthesised(texts: Iterable[str]) -> Iterator[Question]:
    """Questions in the device's own voice. Takes a second to load and blocks: not for the event loop."""
    from edge_client.models.hibari import HibariVoice

    voice = HibariVoice()
    for text in texts:
        yield Question(text, voice.speak(text), synthesised=True)


def first_sentence(samples: Samples, sample_rate: int) -> Samples:
    """The first stretch of a longer recording that is as long as a sentence, cut in the pauses around it."""
    spans = audible_spans(
        samples, sample_rate, threshold=speech_threshold(samples, sample_rate), bridge_sec=SENTENCE_PAUSE_SEC
    )
    least, lead = LEAST_SENTENCE_SEC * sample_rate, int(LEAD_SEC * sample_rate)
    span = next((span for span in spans if span.end - span.begin >= least), None)
    if span is None:
        return samples
    return np.ascontiguousarray(samples[max(0, span.begin - lead) : span.end + lead])
