"""The voice begins at once, says the same thing in the same way, and is understood by the ears."""

from __future__ import annotations

import jiwer
import numpy as np
import pytest

from edge_client.models import hibari
from edge_client.models.hibari import HibariVoice, without_lead
from edge_client.models.moonshine import Moonshine
from routing.errors import ModelError
from routing.turns import Samples
from tests.model_files import model_store
from tests.speech import words

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]  # it speaks a lot

SENTENCES = [
    "The weather is fine today.",
    "Please open the window in the kitchen.",
    "I would like a table for two people.",
    "The train to the city leaves at nine.",
    "She bought three apples and seven oranges.",
    "Thank you very much for your help.",
]


@pytest.fixture(scope="module")
def voice() -> HibariVoice:
    return HibariVoice()


def at_16_khz(samples: Samples) -> Samples:
    """Good enough for speech: three samples of 24 kHz become two."""
    times = np.arange(int(len(samples) * 2 / 3)) * 1.5
    slower: Samples = np.interp(times, np.arange(len(samples)), samples).astype(np.float32)
    return slower


def loudness(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples**2)))


def test_leading_silence_is_cut_off_just_before_the_first_sound() -> None:
    silence, tone = np.zeros(6_000, np.float32), np.full(480, 0.5, np.float32)
    assert len(without_lead(np.concatenate([silence, tone, silence]))) == 120 + 480 + 6_000
    assert len(without_lead(tone)) == 480
    assert len(without_lead(silence)) == 0


def test_speech_is_mono_at_a_sensible_loudness(voice: HibariVoice) -> None:
    speech = voice.speak("It is a quarter past three in the afternoon.")
    assert speech.ndim == 1
    assert speech.dtype == np.float32
    assert 1.5 < len(speech) / 24_000 < 5.0
    assert np.abs(speech).max() <= 1.0
    assert 0.01 < loudness(speech) < 0.3


@pytest.mark.parametrize("text", ["Sure.", "Five minutes.", "She said so.", "How are you?"])
def test_speech_begins_at_once(voice: HibariVoice, text: str) -> None:
    speech = voice.speak(text)
    assert loudness(speech[: 24 * 150]) > 0.005  # the first 150 ms


def test_the_same_text_always_sounds_the_same(voice: HibariVoice) -> None:
    np.testing.assert_array_equal(voice.speak("Sure, why not?"), voice.speak("Sure, why not?"))


@pytest.mark.parametrize("text", ["", " ", "\n", "...", "!!!", "—", "😀", "\x00", "\ud800", "\u200b", "()"])
def test_what_cannot_be_spoken_is_silence(voice: HibariVoice, text: str) -> None:
    assert len(voice.speak(text)) == 0


@pytest.mark.parametrize(
    "text",
    ["9" * 400, "x" * 200, "a\ud800b", "$5.50 & 3%", "C++", "<b>bold</b>", "http://a.example/?b=c", "naïve"],
)
def test_odd_text_is_spoken_somehow(voice: HibariVoice, text: str) -> None:
    speech = voice.speak(text)
    assert len(speech) > 2_400
    assert np.isfinite(speech).all()


def test_another_voice_than_the_known_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hibari, "VOICE_SHA256", "0" * 64)
    with pytest.raises(ModelError, match=r"expected 0000.*reinstall hibari-tts"):
        HibariVoice()


@pytest.mark.models
def test_the_ears_understand_the_voice(voice: HibariVoice) -> None:
    moonshine = Moonshine(model_store().path("speech_encoder").parent)
    heard = [words(moonshine.transcribe(at_16_khz(voice.speak(sentence))).text) for sentence in SENTENCES]
    assert jiwer.wer([words(sentence) for sentence in SENTENCES], heard) <= 0.05
