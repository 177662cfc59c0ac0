"""What is measured with: models of random weights, and something that was said to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from deployments.engine.random_checkpoint import PRESETS, write_random_checkpoint
from routing.turns import SPEECH_SAMPLE_RATE, Samples

SEED = 0
NO_CONTROLS = 0.0  # a boost by which control tokens are never the likeliest: replies keep their rhythm, and never end
LOUDNESS = 0.1


@contextmanager
def checkpoint(
    preset: str, text_run: int = 6, audio_run: int = 12, *, tell: Callable[[str], None] = lambda text: None
) -> Iterator[Path]:
    """A model whose replies keep their rhythm, in a folder that is there for as long as it is needed."""
    with TemporaryDirectory(prefix="antiphon-bench-") as folder:
        write = partial(
            write_random_checkpoint,
            Path(folder),
            PRESETS[preset],
            seed=SEED,
            text_run=text_run,
            audio_run=audio_run,
            boost=NO_CONTROLS,
            progress=lambda part: tell(f"{preset}: making the {part}"),
        )
        yield apart(write)


def apart[Result](work: Callable[[], Result]) -> Result:
    """Do it on a thread that is gone afterwards: what computes later shall not be slowed down (see `EngineThread`)."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def speech(seconds: float, seed: int = SEED) -> Samples:
    """What a caller says: noise, float32 ``[n]`` at 16 kHz. It takes as long to understand as words."""
    samples = np.random.default_rng(seed).normal(0, LOUDNESS, int(seconds * SPEECH_SAMPLE_RATE))
    return samples.clip(-1, 1).astype(np.float32)
