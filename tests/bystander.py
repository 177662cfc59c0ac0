"""Somebody else on the event loop, who notices when it is not shared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class Bystander:
    turns: int = 0  # that the loop gave it

    async def wait(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.turns += 1


@asynccontextmanager
async def bystander() -> AsyncIterator[Bystander]:
    """One who takes every turn there is, until the block ends."""
    other = Bystander()
    waiting = asyncio.create_task(other.wait())
    yield other
    waiting.cancel()
