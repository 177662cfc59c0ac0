"""Echo cancellation: what is played goes, what is said stays, whatever the length of the blocks."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest

from edge_client.echo import EchoCanceller
from routing.errors import SettingsError
from routing.turns import Samples

SAMPLE_RATE = 16_000
DELAY_MS = 40
DELAY = SAMPLE_RATE * DELAY_MS // 1000


def noise(seconds: float, *, seed: int) -> Samples:
    """Dull noise that swells like speech, so that the canceller has something to follow."""
    count = int(seconds * SAMPLE_RATE)
    white = np.random.default_rng(seed).standard_normal(count)
    swell = 0.5 + 0.5 * np.sin(np.arange(count) * 2 * np.pi * 3 / SAMPLE_RATE)
    return (0.3 * np.convolve(white, np.ones(8) / 8, mode="same") * swell).astype(np.float32)


def echo_of(played: Samples) -> Samples:
    """The room: later and quieter."""
    return np.concatenate([np.zeros(DELAY, np.float32), 0.5 * played])[: len(played)]


def blocks(samples: Samples, length: int) -> Iterator[Samples]:
    for start in range(0, len(samples), length):
        yield samples[start : start + length]


def cancel(near: Samples, far: Samples, *, block: int) -> Samples:
    canceller = EchoCanceller(SAMPLE_RATE, DELAY_MS)
    pairs = zip(blocks(near, block), blocks(far, block), strict=True)
    return np.concatenate([canceller.process(recorded, played) for recorded, played in pairs])


def loudness_db(samples: Samples) -> float:
    return 10 * float(np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-12))


def test_an_echo_is_taken_out() -> None:
    played = noise(4, seed=1)
    recorded = echo_of(played)
    cleaned = cancel(recorded, played, block=320)
    second_half = slice(2 * SAMPLE_RATE, None)
    assert loudness_db(cleaned[second_half]) < loudness_db(recorded[second_half]) - 12


def test_a_voice_stays_when_nothing_is_played() -> None:
    said = noise(3, seed=2)
    cleaned = cancel(said, np.zeros_like(said), block=320)
    assert loudness_db(cleaned) == pytest.approx(loudness_db(said), abs=3)


@pytest.mark.parametrize("block", [1, 7, 159, 160, 161, 512, 4000])
def test_the_length_of_the_blocks_does_not_matter(block: int) -> None:
    said, played = noise(0.5, seed=3), noise(0.5, seed=4)
    recorded = said + echo_of(played)
    np.testing.assert_array_equal(cancel(recorded, played, block=block), cancel(recorded, played, block=len(said)))


def test_what_does_not_fill_a_frame_waits_for_the_next_block() -> None:
    canceller = EchoCanceller(SAMPLE_RATE, DELAY_MS)
    block = np.zeros(100, np.float32)
    assert [len(canceller.process(block, block)) for _ in range(5)] == [0, 160, 0, 160, 160]


def test_after_a_reset_everything_is_as_at_first() -> None:
    said, played = noise(0.3, seed=5)[:-50], noise(0.3, seed=6)[:-50]
    canceller = EchoCanceller(SAMPLE_RATE, DELAY_MS)
    first = canceller.process(said, played)
    canceller.reset()
    np.testing.assert_allclose(canceller.process(said, played), first, atol=1e-6)


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pywebrtc_audio", None)
    with pytest.raises(SettingsError, match=r"antiphon\[talk\]"):
        EchoCanceller(SAMPLE_RATE, DELAY_MS)
