"""Tasks end with their block, and the caller's faults pass as they are."""

from __future__ import annotations

import asyncio

import pytest

from routing.own_tasks import own_tasks


async def test_a_fault_of_the_block_passes_unwrapped_once_its_tasks_have_ended() -> None:
    ended = False

    async def work() -> None:
        nonlocal ended
        await asyncio.sleep(0)
        ended = True

    with pytest.raises(ValueError, match="the caller's own"):
        async with own_tasks() as tasks:
            tasks.create_task(work())
            raise ValueError("the caller's own")
    assert ended


async def test_a_fault_of_a_task_is_its_groups() -> None:
    async def fail() -> None:
        raise ValueError("a bug of ours")

    with pytest.raises(ExceptionGroup) as caught:
        async with own_tasks() as tasks:
            tasks.create_task(fail())
            await asyncio.sleep(1)
    assert caught.group_contains(ValueError, match="a bug of ours")
