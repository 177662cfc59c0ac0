"""The voice of one reply: clauses go in, text and sound come out, in pieces small enough to stop at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING

import numpy as np

from edge_client.device.calls import call
from edge_client.stopwatch import Stopwatch
from routing.turns import REPLY_SAMPLE_RATE, AudioChunk, Samples, TextDelta

if TYPE_CHECKING:
    from edge_client.models.hibari import HibariVoice
    from edge_client.models.library import Hosted

BLOCK_SAMPLES = REPLY_SAMPLE_RATE // 5  # 200 ms
SILENCE: Samples = np.zeros(0, np.float32)


class Speaker:
    """Speaks one reply; without a voice it only writes.

    Before ``committed`` is set it waits as soon as ``ahead_sec`` of sound are made.
    """

    def __init__(
        self,
        voice: Hosted[HibariVoice] | None,
        *,
        committed: asyncio.Event,
        ahead_sec: float,
        watch: Stopwatch,
    ) -> None:
        self._voice = voice
        self._committed = committed
        self._room = int(ahead_sec * REPLY_SAMPLE_RATE)
        self._watch = watch

    async def speak(self, clauses: AsyncGenerator[str]) -> AsyncGenerator[TextDelta | AudioChunk]:
        """Each clause as text and then as sound. Closes ``clauses``.

        Raises:
            BackendError: a model failed.
        """
        async with aclosing(clauses):
            async for clause in clauses:
                self._watch.lap("first_text")
                yield TextDelta(clause)
                for block in _blocks(await self._sound(clause)):
                    await self._make_room(len(block))
                    self._watch.lap("first_audio")
                    yield AudioChunk(block, REPLY_SAMPLE_RATE)

    async def _sound(self, clause: str) -> Samples:
        if self._voice is None or not any(character.isalnum() for character in clause):
            return SILENCE
        return await call(self._voice, lambda model: model.speak(clause.strip()))

    async def _make_room(self, samples: int) -> None:
        if self._room <= 0:
            await self._committed.wait()
        self._room -= samples


def _blocks(samples: Samples) -> Iterator[Samples]:
    for start in range(0, len(samples), BLOCK_SAMPLES):
        yield samples[start : start + BLOCK_SAMPLES]
