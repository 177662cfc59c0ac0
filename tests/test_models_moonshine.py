"""People are understood, a draft saves work and not words, and noise is not words."""

from __future__ import annotations

from typing import Any

import jiwer
import numpy as np
import pytest

from edge_client.models.moonshine import Moonshine, Transcription, read_vocabulary
from routing.errors import ModelError
from routing.turns import Samples
from tests.model_files import model_store
from tests.speech import Clip, command_clips, librivox_clips, words

pytestmark = pytest.mark.timeout(120)  # the first run fetches the recordings
models = pytest.mark.models

PARTIAL_SAMPLES = 10_240  # 640 ms
NOTHING_SAID = Transcription("", ())


@pytest.fixture(scope="module")
def moonshine() -> Moonshine:
    return Moonshine(model_store().path("speech_encoder").parent)


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return librivox_clips() + command_clips()


class CountedRuns:
    """A graph that counts how often it is run."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.count = 0

    def run(self, *arguments: object) -> object:
        self.count += 1
        return self._session.run(*arguments)


def draft_of(moonshine: Moonshine, samples: Samples) -> tuple[int, ...]:
    """What is known of a turn just before its end, partial by partial."""
    draft: tuple[int, ...] = ()
    for end in range(PARTIAL_SAMPLES, len(samples), PARTIAL_SAMPLES):
        draft = moonshine.transcribe(samples[:end], draft).tokens
    return draft


def test_the_vocabulary_is_read_with_short_and_long_entries() -> None:
    long = b"x" * 300
    content = b"\x00" + b"\x02hi" + bytes([300 % 128 + 128, 300 // 128]) + long
    assert list(read_vocabulary(content)) == [b"", b"hi", long]


@models
def test_fewer_than_one_word_in_eight_is_wrong(moonshine: Moonshine, clips: list[Clip]) -> None:
    heard = [words(moonshine.transcribe(clip.samples).text) for clip in clips]
    assert jiwer.wer([clip.text for clip in clips], heard) < 0.12


@models
def test_a_draft_saves_steps_and_changes_no_word(
    moonshine: Moonshine, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    drafts = [draft_of(moonshine, clip.samples) for clip in clips]
    decoder = CountedRuns(moonshine._decoder)
    monkeypatch.setattr(moonshine, "_decoder", decoder)
    without = [moonshine.transcribe(clip.samples) for clip in clips]
    steps_without, decoder.count = decoder.count, 0
    with_draft = [moonshine.transcribe(clip.samples, draft) for clip, draft in zip(clips, drafts, strict=True)]
    assert decoder.count < 0.7 * steps_without
    # Whole numbers are rounded over all tokens of a pass, so one near tie may fall the other way on some processor.
    assert sum(a == b for a, b in zip(without, with_draft, strict=True)) >= len(clips) - 1


@models
def test_a_wrong_draft_is_not_believed(moonshine: Moonshine, clips: list[Clip]) -> None:
    truth = moonshine.transcribe(clips[1].samples)
    other = moonshine.transcribe(clips[4].samples).tokens
    for draft in (other, other * 10, (1, 2, 3, 4), tuple(reversed(truth.tokens))):
        assert moonshine.transcribe(clips[1].samples, draft) == truth


@models
def test_turns_longer_than_nine_seconds_are_understood(moonshine: Moonshine, clips: list[Clip]) -> None:
    long = clips[:3]
    samples = np.concatenate([clip.samples for clip in long])
    assert len(samples) > 15 * 16_000
    heard = words(moonshine.transcribe(samples).text)
    assert jiwer.wer(" ".join(clip.text for clip in long), heard) < 0.12


@models
@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.5, 1.0, 5.0])
def test_silence_is_not_words(moonshine: Moonshine, seconds: float) -> None:
    assert moonshine.transcribe(np.zeros(int(seconds * 16_000), np.float32)) == NOTHING_SAID


@models
@pytest.mark.parametrize("seconds", [0.02, 0.15, 0.25])
def test_a_burst_of_noise_is_not_words(moonshine: Moonshine, seconds: float) -> None:
    count = int(seconds * 16_000)
    burst = np.random.default_rng(0).normal(0.0, 0.3, count) * np.exp(-4 * np.arange(count) / count)
    silence = np.zeros(6_400)
    samples = np.concatenate([silence, burst, silence]).astype(np.float32)
    assert moonshine.transcribe(samples) == NOTHING_SAID


@models
def test_a_hum_is_not_words(moonshine: Moonshine) -> None:
    hum = 0.2 * np.sin(2 * np.pi * 50 * np.arange(32_000) / 16_000)
    assert moonshine.transcribe(hum.astype(np.float32)) == NOTHING_SAID


@models
def test_a_file_that_is_no_graph_is_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("models")
    (folder / "encoder_model.ort").write_bytes(b"not a graph")
    with pytest.raises(ModelError, match=r"cannot load .*encoder_model\.ort"):
        Moonshine(folder)
