"""What may hang waits on a thread that nobody has to wait for."""

from __future__ import annotations

import asyncio
import threading

import pytest

from edge_client.doctor.aside import aside


async def test_what_it_returns_or_raises_comes_back() -> None:
    assert await aside(lambda: threading.current_thread().daemon)
    with pytest.raises(ZeroDivisionError):
        await aside(lambda: 1 // 0)


async def test_whoever_is_tired_of_waiting_leaves() -> None:
    released = threading.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await aside(released.wait)
    released.set()
