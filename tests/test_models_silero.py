"""Speech is told from silence and noise, and streams do not hear each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from edge_client.models.silero import VAD_FRAME_SAMPLES, SileroModel, VoiceActivityDetector
from routing.turns import Samples
from tests.model_files import model_store
from tests.speech import librivox_clips

pytestmark = [pytest.mark.models, pytest.mark.timeout(120)]  # the first run fetches the recordings


@pytest.fixture(scope="module")
def model() -> SileroModel:
    return SileroModel(model_store().path("voice_activity"))


def frames(samples: Samples) -> Iterator[Samples]:
    for start in range(0, len(samples) - VAD_FRAME_SAMPLES + 1, VAD_FRAME_SAMPLES):
        yield samples[start : start + VAD_FRAME_SAMPLES]


def probabilities(detector: VoiceActivityDetector, samples: Samples) -> list[float]:
    return [detector.probability(frame) for frame in frames(samples)]


def noise(seconds: float, loudness: float) -> Samples:
    random = np.random.default_rng(7)
    return random.normal(0.0, loudness, int(seconds * 16_000)).astype(np.float32)


def test_people_reading_are_heard_nearly_all_the_time(model: SileroModel) -> None:
    for clip in librivox_clips():
        heard = np.array(probabilities(model.detector(), clip.samples)) > 0.5
        assert heard.mean() > 0.75, clip.text  # the clips begin and end with a little silence


@pytest.mark.parametrize("loudness", [0.0, 0.001, 0.05, 0.3])
def test_silence_and_noise_are_not_speech(model: SileroModel, loudness: float) -> None:
    assert max(probabilities(model.detector(), noise(5.0, loudness))) < 0.35


def test_speech_is_heard_through_noise_and_its_end_is_noticed(model: SileroModel) -> None:
    clip = librivox_clips()[0]
    silence = np.zeros(16_000, np.float32)
    samples = np.concatenate([silence, clip.samples, silence])
    heard = np.array(probabilities(model.detector(), samples + noise(len(samples) / 16_000, 0.01)))
    assert heard[:25].max() < 0.5
    assert (heard[31:-31] > 0.5).mean() > 0.75
    assert heard[-20:].max() < 0.35


def test_each_stream_has_a_memory_of_its_own(model: SileroModel) -> None:
    speech = librivox_clips()[1].samples
    alone = probabilities(model.detector(), speech)
    first, second = model.detector(), model.detector()
    together = []
    for frame in frames(speech):
        together.append(first.probability(frame))
        second.probability(noise(0.032, 0.1))
    assert together == alone


def test_a_frame_of_another_size_is_a_bug_of_ours(model: SileroModel) -> None:
    with pytest.raises(AssertionError, match="expected 512 samples"):
        model.detector().probability(np.zeros(480, np.float32))
