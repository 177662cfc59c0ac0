"""The event loop that programs run on."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any


def run[T](work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, or until Ctrl-C. uvloop takes less time for itself than the loop that Python brings."""
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


@contextmanager
def lasting_memory() -> Iterator[None]:
    """What is in memory now stays until the end, and the garbage collector need not look through it meanwhile.

    Every full collection would: with all libraries and models loaded the loop stands still for 60 ms then, as often as
    enough calls have come and gone.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
