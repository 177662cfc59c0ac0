"""How long a connection was in the making, and whose fault it is that there is none."""

from __future__ import annotations

import asyncio

from edge_client.connecting import Connecting
from routing.errors import AtCapacity, BackendError
from tests.virtual_time import on_virtual_time


@on_virtual_time
async def test_what_breaks_later_is_no_fault_of_the_connection() -> None:
    connecting = Connecting()
    await asyncio.sleep(0.25)
    connecting.done()
    await asyncio.sleep(5)
    connecting.fail(BackendError("it broke"))
    phase = connecting.phase("cloud.connect")
    assert (phase.duration_sec, phase.error) == (0.25, None)


@on_virtual_time
async def test_one_that_never_came_about_says_why_in_our_own_words() -> None:
    connecting = Connecting()
    await asyncio.sleep(0.25)
    connecting.fail(AtCapacity("the words of a stranger", retry_after_sec=1.0))
    await asyncio.sleep(5)
    phase = connecting.phase("cloud.connect")
    assert (phase.duration_sec, phase.error) == (0.25, "at capacity")
