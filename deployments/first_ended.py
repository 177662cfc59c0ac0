"""Things that are done side by side, until the first of them has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


async def first_ended(*work: Coroutine[None, None, None]) -> None:
    """Do all of it at once, and leave the rest where one has ended. Raises what that one raised.

    Where several end in the same moment, the one that is named first counts.
    """
    tasks = [asyncio.create_task(each) for each in work]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    next(task for task in tasks if task in ended).result()
