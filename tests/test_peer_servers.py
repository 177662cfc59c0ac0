"""What other stacks answer with is what ours does, and what counts as that answer."""

from __future__ import annotations

import numpy as np
import pytest

from edge_client import tone as ours
from edge_client.audio import resample
from routing.turns import REPLY_SAMPLE_RATE, SPEECH_SAMPLE_RATE, AudioChunk, Samples
from tests.bench_peers import is_tone
from tests.peer_servers import answer


def test_all_answer_with_the_same_tone() -> None:
    assert answer.SAMPLE_RATE == REPLY_SAMPLE_RATE
    assert answer.tone() / 32767 == pytest.approx(ours.tone(), abs=1 / 32767)


def heard(samples: Samples) -> AudioChunk:
    """As a caller hears it, with a moment of silence before."""
    sound = resample(samples, REPLY_SAMPLE_RATE, SPEECH_SAMPLE_RATE)
    return AudioChunk(np.concatenate((np.zeros(500, np.float32), sound)), SPEECH_SAMPLE_RATE)


def test_the_tone_is_known_by_its_pitch_and_its_length() -> None:
    assert is_tone(heard(ours.tone()), answer.TONE_SEC)
    assert not is_tone(heard(ours.tone()), 0.3)


def test_neither_a_click_nor_silence_is_the_tone() -> None:
    click = np.zeros(4000, np.float32)
    click[1000] = 0.5
    assert not is_tone(heard(click), answer.TONE_SEC)
    assert not is_tone(heard(np.zeros(4000, np.float32)), answer.TONE_SEC)
