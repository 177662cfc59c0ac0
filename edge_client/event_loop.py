"""The event loop that programs run on."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from signal import SIGINT
from typing import Any

from edge_client.signals import ending_signals, signals_caught


def run[T](work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, or until Ctrl-C. uvloop takes less time for itself than the loop that Python brings."""
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def run_until_told[T](work: Coroutine[Any, Any, T]) -> T:
    """As `run`, but SIGTERM and SIGHUP end the work like Ctrl-C: in good order, and so what it has begun ends too.

    Raises:
        SystemExit: one of them came; with 128 more than its number, as shells have it.
    """
    told: list[int] = []
    try:
        return run(_heeding(work, told))
    except asyncio.CancelledError:
        if not told:
            raise
        raise SystemExit(128 + told[0]) from None


async def _heeding[T](work: Coroutine[Any, Any, T], told: list[int]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task

    def heed(number: int, _: object) -> None:
        told.append(number)
        if len(told) == 1:  # some tell it twice, which must not cut short what the first word has begun
            loop.call_soon_threadsafe(task.cancel)

    with signals_caught((number for number in ending_signals() if number != SIGINT), heed):
        return await work


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
