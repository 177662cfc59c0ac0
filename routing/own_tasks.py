"""Tasks of what is opened with a block, such as an exchange."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def own_tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """A group for the block's own tasks. The block cancels those that would not end by themselves.

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
