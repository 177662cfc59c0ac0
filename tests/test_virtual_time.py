"""The clock that jumps."""

from __future__ import annotations

import asyncio

import pytest

from tests.virtual_time import on_virtual_time


@pytest.fixture
def greeting() -> str:
    return "hello"


@on_virtual_time
async def test_an_hour_passes_at_once() -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(3600)
    assert loop.time() == pytest.approx(3600)


@on_virtual_time
async def test_timers_fire_in_order() -> None:
    fired: list[tuple[int, str]] = []

    async def ring(delay_sec: float, name: str) -> None:
        await asyncio.sleep(delay_sec)
        fired.append((round(asyncio.get_running_loop().time() * 1000), name))

    await asyncio.gather(ring(3, "third"), ring(0.1, "first"), ring(2, "second"))
    assert fired == [(100, "first"), (2000, "second"), (3000, "third")]


@on_virtual_time
async def test_a_timeout_cancels_what_takes_longer() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await asyncio.sleep(6)
    assert asyncio.get_running_loop().time() == pytest.approx(5)


@on_virtual_time
async def test_work_without_timers_takes_no_time() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize=1)

    async def fill() -> None:
        for number in range(100):
            await queue.put(number)

    async with asyncio.TaskGroup() as group:
        group.create_task(fill())
        assert [await queue.get() for _ in range(100)] == list(range(100))
    assert asyncio.get_running_loop().time() == 0


@on_virtual_time
async def test_fixtures_arrive(greeting: str) -> None:
    assert greeting == "hello"


def test_waiting_for_nothing_is_an_error_and_not_a_hang() -> None:
    @on_virtual_time
    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="no timer will bring"):
        wait_for_ever()
