"""What the cascade gains by running the models of several turns together, and what it would lose.

Run ``python -m tests.bench_batching``; it needs the model files and takes about half a minute.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from contextlib import closing
from functools import partial
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from deployments.cascade.embedder import open_embedder
from edge_client.audio import resample
from edge_client.device.skills import load_skills
from edge_client.models.library import AnsweringLibrary, Hosted, load_answering_library
from edge_client.models.minilm import MiniLM
from edge_client.models.moonshine import Moonshine
from edge_client.models.store import ModelStore, default_folder
from routing.turns import REPLY_SAMPLE_RATE, SPEECH_SAMPLE_RATE, Samples
from tests.spoken import spoken

CALLS = 480  # for each row
CALLERS = (1, 4, 16)
MAXIMA = (1, 8, 16)
RUNS = 7  # of which the median is told
SECONDS = (1, 3, 6)
ROWS = 8
SENTENCE = "Tell me how far the moon is away, and then tell me how long it would take to walk there without a break."


class Embedding(NamedTuple):
    a_second: float
    p50_ms: float
    p99_ms: float
    mean_size: float


async def main() -> None:
    store = ModelStore(default_folder(os.environ))
    with closing(await load_answering_library(store, progress=lambda text: None)) as library:
        await tell_embedding(library)
        await tell_encoding(library)


async def tell_embedding(library: AnsweringLibrary) -> None:
    table = Table("callers", "largest batch", "calls a second", "p50 ms", "p99 ms", "mean batch", title="embedding")
    for callers, maximum in itertools.product(CALLERS, MAXIMA):
        row = await embedding(library.embedder, callers, maximum)
        figures = (f"{figure:.1f}" for figure in row)
        table.add_row(str(callers), str(maximum), *figures)
    Console().print(table)


async def embedding(hosted: Hosted[MiniLM], callers: int, maximum: int) -> Embedding:
    """Callers that each embed one sentence of the skills after another."""
    sentences, took_sec = itertools.cycle(load_skills().examples), list[float]()
    async with open_embedder(hosted, maximum_batch=maximum, longest_wait_ms=2) as embedder:

        async def caller() -> None:
            for _ in range(CALLS // callers):
                began = time.perf_counter()
                await embedder.embed([next(sentences)])
                took_sec.append(time.perf_counter() - began)

        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(callers)))
        a_second = len(took_sec) / (time.perf_counter() - began)
        p50, p99 = np.quantile(took_sec, [0.5, 0.99]) * 1000
        return Embedding(a_second, p50, p99, embedder.statistics().mean_size)


async def tell_encoding(library: AnsweringLibrary) -> None:
    """Together, the encoder of speech gives other states, since it rounds over the whole batch."""
    speech = await asyncio.to_thread(speech_of, SENTENCE)
    table = Table("seconds", "alone ms", f"in a batch of {ROWS}, each ms", "states move by up to", title="encoding")
    for seconds in SECONDS:
        rows = np.stack([speech[start : start + seconds * SPEECH_SAMPLE_RATE] for start in range(0, ROWS * 100, 100)])
        encode = partial(encoding, library.speech_to_text.model, rows)
        table.add_row(str(seconds), *await library.speech_to_text.thread.run(encode))
    Console().print(table)


def encoding(model: Moonshine, rows: Samples) -> tuple[str, str, str]:
    alone_ms, alone = timed(model, rows[:1])
    together_ms, together = timed(model, rows)
    return f"{alone_ms:.1f}", f"{together_ms / len(rows):.1f}", f"{np.abs(together[0] - alone[0]).max():.2f}"


def timed(model: Moonshine, rows: Samples) -> tuple[float, Samples]:
    """The median time in milliseconds, and the states."""
    took_ms, states = [], rows
    for _ in range(RUNS):
        began = time.perf_counter()
        inputs = {"input_values": rows, "attention_mask": np.ones(rows.shape, np.int64)}
        (states,) = model._encoder.run(["last_hidden_state"], inputs)
        took_ms.append((time.perf_counter() - began) * 1000)
    return float(np.median(took_ms)), states


def speech_of(text: str) -> Samples:
    samples = resample(spoken(text), REPLY_SAMPLE_RATE, SPEECH_SAMPLE_RATE)
    return np.resize(samples, (max(SECONDS) + 1) * SPEECH_SAMPLE_RATE)


if __name__ == "__main__":
    asyncio.run(main())
