"""What keeps the event loop free, and what ends it."""

from __future__ import annotations

import asyncio
import gc
import signal

import pytest

from edge_client.event_loop import lasting_memory, run_until_told


class Node:
    """Refers to itself, so that only the collector can free it."""

    def __init__(self) -> None:
        self.itself = self


def test_what_lasts_is_not_looked_through_and_what_comes_later_is_freed() -> None:
    lasting = [Node() for _ in range(1000)]

    with lasting_memory():
        assert gc.get_freeze_count() > len(lasting)
        assert not any(one is lasting[0] for one in gc.get_objects())
        gc.collect()
        later = [Node() for _ in range(100)]
        del later
        assert gc.collect() >= 100

    assert gc.get_freeze_count() == 0


def test_who_is_told_to_end_twice_ends_in_good_order_all_the_same() -> None:
    """As by `timeout`, which tells its command, and then all of its group."""
    left = []

    async def work() -> None:
        signal.raise_signal(signal.SIGTERM)
        try:
            await asyncio.sleep(10)
        finally:
            signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(0.01)
            left.append("in good order")

    with pytest.raises(SystemExit) as ended:
        run_until_told(work())
    assert ended.value.code == 128 + signal.SIGTERM
    assert left == ["in good order"]
