"""A conversation with a whole engine, small enough for a test to have it twice."""

from __future__ import annotations

from typing import Any

from deployments.engine.settings import EngineSettings
from tests.engine_parity import Items, Talk, clip, items_of, running, scheduling, told

SMALL: dict[str, Any] = {
    "slots": 2,
    "slot_positions": 256,
    "maximum_reply_sec": 1.0,
    "scheduler": scheduling(maximum_running=1, maximum_waiting=1, prefill_chunk=32),
}


async def conversation(settings: EngineSettings) -> list[Items]:
    """Three turns, one after the other: the slower engine of two shall have to refuse none of them."""
    made: list[Items] = []
    talks = {name: Talk(name) for name in ("one", "other")}
    async with running(settings) as engine:
        for seed, name in enumerate(("one", "other", "one")):
            answer = engine.ask(talks[name].question(clip(seed, 0.5 + seed / 4)))
            talks[name].remember(f"speech {seed}", await told(answer))
            made.append(items_of(answer))
    return made
