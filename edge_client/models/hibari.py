"""hibari: English text to speech, at 24 kHz."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import hibari
import numpy as np

from routing.errors import ModelError
from routing.turns import REPLY_SAMPLE_RATE, Samples

VOICE_SHA256 = "5f70741d4e900f4e85d0037498736cc1b3e1b9a63a13546a5da1e63abf4fccd8"
SEED = 20_000  # of the noise in the voice: the same text always sounds the same
SPEAKABLE = re.compile(r"[^\W_]|[#$%&+=@£€]")
LONG_NUMBER = re.compile(r"\d{16,}")
# Each sentence begins with some 250 ms of digital silence, for which the caller would wait. The faintest
# beginning of a word is louder than this, and begins after it.
SILENCE_PEAK = 0.001
ONSET_SAMPLES = REPLY_SAMPLE_RATE * 5 // 1000


class HibariVoice:
    """The one voice that travels in the package; any other would be fetched from a model hub."""

    def __init__(self) -> None:
        self._hibari = hibari.Hibari()
        _verify(Path(self._hibari.model_path))
        assert self._hibari.g2p  # loads the pronunciations, which is otherwise done at the first word

    def speak(self, text: str) -> Samples:
        """``text`` as speech at 24 kHz, beginning with the first sound; empty where nothing can be spoken."""
        if not SPEAKABLE.search(text):
            return np.zeros(0, np.float32)
        # Numbers end at some length; a longer row of digits is read one by one, as people do.
        readable = LONG_NUMBER.sub(lambda digits: " ".join(digits[0]), text)
        sentences = [without_lead(sentence) for sentence in self._hibari.stream(readable, seed=SEED)]
        return np.concatenate([np.zeros(0, np.float32), *sentences])


def without_lead(samples: Samples) -> Samples:
    """``samples`` without the silence they begin with."""
    loud = np.flatnonzero(np.abs(samples) > SILENCE_PEAK)
    return samples[max(0, loud[0] - ONSET_SAMPLES) :] if loud.size else samples[:0]


def _verify(path: Path) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != VOICE_SHA256:
        raise ModelError(f"the voice {path} has SHA-256 {found}, expected {VOICE_SHA256}; reinstall hibari-tts")
