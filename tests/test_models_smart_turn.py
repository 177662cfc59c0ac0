"""Our log-mel features are those the model was trained on, and whole sentences sound more complete than cut ones."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from edge_client.models.smart_turn import SmartTurn, last_window, log_mel
from routing.turns import Samples
from tests.model_files import model_store
from tests.speech import librivox_clips

models = pytest.mark.models


def sounds() -> dict[str, Samples]:
    time = np.arange(160_000) / 16_000
    noise = np.random.default_rng(3).normal(0.0, 0.1, 160_000)
    return {
        "nothing": np.zeros(0, np.float32),
        "silence": np.zeros(50_000, np.float32),
        "one sample": np.ones(1, np.float32),
        "a short tone": np.sin(2 * np.pi * 440 * time[:16_000]).astype(np.float32),
        "a long sweep": np.sin(2 * np.pi * 350 * time**2).astype(np.float32),
        "noise": noise.astype(np.float32),
        "faint noise": (noise * 1e-4).astype(np.float32),
        "an offset": np.full(128_000, 0.25, np.float32),
    }


@pytest.fixture(scope="module")
def reference() -> Callable[[Samples], Samples]:
    path = model_store().path("turn_end_features")
    spec = importlib.util.spec_from_file_location("whisper_features", path)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    features: Callable[[Samples], Samples] = module.compute_whisper_log_mel_features
    return features


def test_the_window_holds_the_last_eight_seconds() -> None:
    count = np.arange(200_000, dtype=np.float32)
    assert last_window(count).tolist() == list(range(72_000, 200_000))


def test_what_is_shorter_has_silence_in_front() -> None:
    window = last_window(np.ones(1_000, np.float32))
    assert window.shape == (128_000,)
    assert not window[:-1_000].any()
    assert window[-1_000:].all()


def test_features_have_the_shape_and_range_of_the_model() -> None:
    features = log_mel(last_window(sounds()["a long sweep"]))
    assert (features.shape, features.dtype) == ((80, 800), np.dtype(np.float32))
    assert features.max() - features.min() <= 2.0 + 1e-6  # eight powers of ten, divided by four


def test_a_tone_lights_up_its_own_mel_band() -> None:
    time = np.arange(128_000) / 16_000
    loudest = [
        int(log_mel(np.sin(2 * np.pi * hertz * time).astype(np.float32)).mean(axis=1).argmax())
        for hertz in (200, 400, 800, 1600, 3200, 6400)
    ]
    assert loudest == sorted(set(loudest))


@models
@pytest.mark.parametrize("name", sounds())
def test_features_equal_those_of_the_wheel(reference: Callable[[Samples], Samples], name: str) -> None:
    window = last_window(sounds()[name])
    np.testing.assert_allclose(log_mel(window), reference(window), atol=1e-4, rtol=0)


@models
@pytest.mark.timeout(120)
def test_features_of_speech_equal_those_of_the_wheel(reference: Callable[[Samples], Samples]) -> None:
    for clip in librivox_clips():
        window = last_window(clip.samples)
        np.testing.assert_allclose(log_mel(window), reference(window), atol=1e-4, rtol=0)


@models
@pytest.mark.timeout(120)
def test_whole_sentences_sound_more_complete_than_cut_ones() -> None:
    model = SmartTurn(model_store().path("turn_end"))
    clips = [clip.samples for clip in librivox_clips()]
    whole = [model.completeness(samples) for samples in clips]
    cut = [model.completeness(samples[: len(samples) * tenths // 10]) for samples in clips for tenths in (4, 6)]
    assert np.median(whole) > 0.5 > np.median(cut)
    assert np.mean(whole) > np.mean(cut) + 0.3


@models
def test_completeness_of_nothing_is_still_a_probability() -> None:
    model = SmartTurn(model_store().path("turn_end"))
    for samples in sounds().values():
        assert 0.0 <= model.completeness(samples) <= 1.0
