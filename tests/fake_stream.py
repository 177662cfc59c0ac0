"""A sound device at the bottom: what it records is scripted, what it plays is kept, and the test's clock drives it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from edge_client.soundcard import BLOCK_SAMPLES, BLOCK_SEC, Exchange
from routing.turns import Samples


class FakeStream:
    """Calls back from a thread of its own, as PortAudio does; use it as the way to open itself."""

    delay_sec = 0.04

    def __init__(self) -> None:
        self.played: list[Samples] = []
        self.started = asyncio.Event()
        self.closed = False
        self._loop = asyncio.get_running_loop()
        self._exchange: Exchange | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fake-sound")

    def __call__(self, exchange: Exchange) -> FakeStream:
        self._exchange = exchange
        return self

    def start(self) -> None:
        self._loop.call_soon_threadsafe(self.started.set)

    def close(self) -> None:
        self.closed = True
        self._thread.shutdown()

    async def record(self, samples: Samples, *, pace_sec: float = BLOCK_SEC) -> None:
        """The room sounds like ``samples``; one block after the other at ``pace_sec``."""
        await self.started.wait()
        for block in blocks(samples):
            await self._turn(block)
            await asyncio.sleep(pace_sec)

    async def _turn(self, block: Samples) -> None:
        assert self._exchange is not None
        played = await asyncio.get_running_loop().run_in_executor(self._thread, self._exchange, block)
        self.played.append(played.copy())

    @property
    def sound(self) -> Samples:
        """All that was played."""
        return np.concatenate([np.zeros(0, np.float32), *self.played])


def blocks(samples: Samples) -> Iterable[Samples]:
    padded = np.pad(samples, (0, -len(samples) % BLOCK_SAMPLES))
    return padded.reshape(-1, BLOCK_SAMPLES)
