"""The tasks of one exchange, for backends that are opened with a block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def turn_tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """A group whose tasks end with the block, which cancels those that would not end by themselves.

    What the block itself raises is its caller's, and passes as it is: the group would wrap it.
    """
    fault: Exception | None = None
    async with asyncio.TaskGroup() as tasks:
        try:
            yield tasks
        except Exception as error:  # noqa: BLE001
            fault = error
    if fault is not None:
        raise fault
