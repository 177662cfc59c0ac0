"""Work that may wait for a disk, a driver or a name server, on a thread that keeps nobody from leaving."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future


async def aside[T](work: Callable[[], T]) -> T:
    """What ``work`` returns or raises.

    Unlike those of `asyncio.to_thread`, its thread is not waited for at the program's end: a driver that hangs stays
    behind alone.
    """
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()
    threading.Thread(target=_run, args=(work, done), name="doctor", daemon=True).start()
    return await asyncio.wrap_future(done)


def _run[T](work: Callable[[], T], done: Future[T]) -> None:
    try:
        done.set_result(work())
    except BaseException as exc:  # noqa: BLE001 (it is whoever waits that has to know)
        done.set_exception(exc)
