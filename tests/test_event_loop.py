"""What keeps the event loop free."""

from __future__ import annotations

import gc

from edge_client.event_loop import lasting_memory


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
