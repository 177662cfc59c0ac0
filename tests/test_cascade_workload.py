"""The threads tell how long one would wait, and when a model does not come back."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from functools import partial

import pytest

from deployments.cascade.workload import Workload
from edge_client.models.thread import ModelThread
from routing.errors import BackendUnavailable


def hold(begun: threading.Event, opened: threading.Event) -> None:
    """A call that goes on until it is let go."""
    begun.set()
    assert opened.wait(10)


@pytest.fixture
async def thread() -> AsyncIterator[ModelThread]:
    thread = ModelThread("language")
    yield thread
    thread.close()
    await asyncio.to_thread(thread.join)


async def test_who_comes_next_waits_for_those_who_wait_and_loading_does_not_count(thread: ModelThread) -> None:
    await thread.run(lambda: time.sleep(0.05))
    workload = Workload.since_now([thread])
    assert workload.queue_wait_sec() == 0.0
    await thread.run(lambda: time.sleep(0.002))
    mean_sec = thread.statistics().busy_sec - workload.before[0].busy_sec
    begun, opened = threading.Event(), threading.Event()
    busy = asyncio.create_task(thread.run(partial(hold, begun, opened)))
    assert await asyncio.to_thread(begun.wait, 10)
    waiting = [asyncio.create_task(thread.run(lambda: None)) for _ in range(3)]
    await asyncio.sleep(0)
    assert workload.queue_wait_sec() == pytest.approx(3.5 * mean_sec)
    opened.set()
    await asyncio.gather(busy, *waiting)
    assert await settled(thread) == 0.0
    assert workload.queue_wait_sec() == 0.0


async def test_a_model_that_does_not_come_back_is_told(thread: ModelThread) -> None:
    workload = Workload.since_now([thread])
    begun, opened = threading.Event(), threading.Event()
    busy = asyncio.create_task(thread.run(partial(hold, begun, opened)))
    assert await asyncio.to_thread(begun.wait, 10)
    workload.check(stuck_after_sec=30)
    with pytest.raises(BackendUnavailable, match="the model 'language' has been at one call for"):
        workload.check(stuck_after_sec=0)
    opened.set()
    await busy
    await settled(thread)
    workload.check(stuck_after_sec=0)


async def settled(thread: ModelThread) -> float:
    """A call is answered a moment before its thread has put it down."""
    while running_sec := thread.statistics().running_sec:
        await asyncio.sleep(0)
    return running_sec
