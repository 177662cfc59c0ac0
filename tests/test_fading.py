"""Where the sound of a frame ends."""

from __future__ import annotations

import numpy as np
import pytest

from edge_client.endpointer import FRAME_SAMPLES
from edge_client.fading import WINDOW_SAMPLES, Fading
from routing.turns import Samples


def frame(*levels: float) -> Samples:
    """One with a window of each level."""
    assert len(levels) * WINDOW_SAMPLES == FRAME_SAMPLES
    signs = np.resize(np.array((1, -1), np.float32), WINDOW_SAMPLES)
    return np.concatenate([np.float32(level) * signs for level in levels])


@pytest.mark.parametrize(
    ("levels", "windows"),
    [((0.1, 0.1, 0.1, 0.1), 4), ((0.1, 0.1, 0, 0), 2), ((0, 0, 0.1, 0.0001), 3), ((0, 0, 0, 0), 0)],
)
def test_the_sound_ends_with_the_last_window_that_is_not_quiet(levels: tuple[float, ...], windows: int) -> None:
    assert Fading().sound(frame(*levels)) == windows * WINDOW_SAMPLES


def test_what_is_quiet_is_told_by_what_was_loud_before() -> None:
    fading = Fading()
    assert fading.sound(frame(0.0005, 0.0005, 0.0005, 0.0005)) == FRAME_SAMPLES
    fading.sound(frame(0.1, 0.1, 0.1, 0.1))
    assert fading.sound(frame(0.0005, 0.0005, 0.0005, 0.0005)) == 0


def test_what_was_loud_is_forgotten() -> None:
    fading = Fading()
    fading.sound(frame(1, 1, 1, 1))
    for _ in range(1000):  # half a minute
        fading.sound(frame(0.01, 0.01, 0.01, 0.01))
    assert fading.sound(frame(0.0005, 0.0005, 0.0005, 0.0005)) == FRAME_SAMPLES


def test_in_noise_every_frame_sounds_to_its_end() -> None:
    fading = Fading()
    fading.sound(frame(0.1, 0.1, 0.1, 0.1))
    assert fading.sound(frame(0.1, 0.1, 0.003, 0.003)) == FRAME_SAMPLES
