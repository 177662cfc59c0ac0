"""A backend without models: it answers every turn at once, with a tone.

It shows what transport and turn-taking cost by themselves. It understands nothing and says so: no transcript is ever
told, because an empty one would mean that nobody had said anything, and such a turn is not answered.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache

import numpy as np

from routing.turns import REPLY_SAMPLE_RATE, AudioChunk, Exchange, Heard, ReplyEnd, ReplyEvent, Samples, TextDelta, Turn

TONE_SEC = 0.8
TONE_HZ = 1000
TONE_LEVEL = 0.3
EDGE_SEC = 0.005  # the rise and the fall: short enough to be heard within the first milliseconds, and without a click
TONE_WORDS = "[tone]"  # what stands for it in a conversation


class ToneBackend:
    """See `routing.turns.Backend`."""

    name = "tone"

    @asynccontextmanager
    async def open(self, turn: Turn, *, on_heard: Callable[[Heard], None]) -> AsyncIterator[Exchange]:  # noqa: ARG002
        yield ToneExchange(turn)


class ToneExchange:
    """One turn, whatever was said in it."""

    def __init__(self, turn: Turn) -> None:
        self._with_sound = turn.modality == "audio"

    def feed(self, chunk: AudioChunk) -> None:
        """What the user says makes no difference."""

    async def reply(self) -> AsyncGenerator[ReplyEvent]:
        yield TextDelta(TONE_WORDS)
        if self._with_sound:
            yield AudioChunk(tone(), REPLY_SAMPLE_RATE)
        yield ReplyEnd()

    def commit(self) -> None:
        """The reply is the same."""


@cache
def tone() -> Samples:
    """The tone with soft edges, at `REPLY_SAMPLE_RATE`."""
    time = np.arange(round(TONE_SEC * REPLY_SAMPLE_RATE)) / REPLY_SAMPLE_RATE
    edges = np.minimum(time, TONE_SEC - time) / EDGE_SEC
    sound: Samples = (TONE_LEVEL * np.minimum(edges, 1) * np.sin(2 * np.pi * TONE_HZ * time)).astype(np.float32)
    sound.flags.writeable = False  # every reply is this one array
    return sound
