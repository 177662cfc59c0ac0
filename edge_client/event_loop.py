"""The event loop that programs run on."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


def run[T](work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, or until Ctrl-C. uvloop takes less time for itself than the loop that Python brings."""
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
