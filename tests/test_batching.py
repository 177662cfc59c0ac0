"""Calls that come while a batch runs make up the next one; who leaves, leaves; who fails, fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import pytest

from deployments import batching
from deployments.batching import Batcher, open_batcher
from routing.errors import AtCapacity, BackendUnavailable
from tests.virtual_time import on_virtual_time

STEP_SEC = 1.0


class Doubling:
    """A function on lists that takes a second, whatever their length. It dislikes odd and hates negative numbers."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.began: list[float] = []
        self.running = 0

    async def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        assert self.running == 0, "one batch at a time"
        self.running += 1
        self.batches.append(list(items))
        self.began.append(asyncio.get_running_loop().time())
        try:
            await asyncio.sleep(STEP_SEC)
        finally:
            self.running -= 1
        if min(items) < 0:
            raise ArithmeticError("negative")
        return [ValueError(f"odd: {item}") if item % 2 else 2 * item for item in items]


def opened(
    doubling: Doubling, *, maximum_batch: int = 4, longest_wait_ms: float = 100
) -> AbstractAsyncContextManager[Batcher[int, int]]:
    return open_batcher(doubling, maximum_batch=maximum_batch, longest_wait_ms=longest_wait_ms)


async def later(batcher: Batcher[int, int], item: int, sec: float) -> int:
    await asyncio.sleep(sec)
    return await batcher.ask(item)


@on_virtual_time
async def test_a_lone_call_is_run_at_once() -> None:
    doubling = Doubling()
    async with opened(doubling) as batcher:
        assert await batcher.ask(4) == 8
        assert await later(batcher, 6, sec=10) == 12
    assert doubling.began == [0.0, 11.0]
    statistics = batcher.statistics()
    assert (statistics.batches, statistics.calls, statistics.mean_size) == (2, 2, 1.0)
    assert statistics.longest_wait_sec == 0.0


@on_virtual_time
async def test_who_comes_while_a_batch_runs_is_in_the_next_one_and_no_batch_is_too_large() -> None:
    doubling = Doubling()
    async with opened(doubling) as batcher:
        answers = await asyncio.gather(*(later(batcher, 2 * n, sec=0.1 * n) for n in range(7)))
    assert answers == [0, 4, 8, 12, 16, 20, 24]
    assert doubling.batches == [[0], [2, 4, 6, 8], [10, 12]]
    assert doubling.began == [0.0, 1.0, 2.0]
    statistics = batcher.statistics()
    assert (statistics.largest, statistics.waiting, statistics.failed) == (4, 0, 0)
    assert sum(size * count for size, count in batcher.sizes().items()) == statistics.calls
    assert statistics.longest_wait_sec == pytest.approx(1.5)
    assert statistics.mean_wait_sec == pytest.approx((0.9 + 0.8 + 0.7 + 0.6 + 1.5 + 1.4) / 7)


@on_virtual_time
async def test_without_time_to_spare_a_batch_waits_for_company_but_not_long() -> None:
    doubling = Doubling()
    async with opened(doubling, longest_wait_ms=1000) as batcher:
        answers = await asyncio.gather(*(later(batcher, item, sec) for item, sec in ((2, 0), (4, 1.001), (6, 1.3))))
        assert doubling.batches == [[2], [4, 6]]
        assert 1.3 <= doubling.began[1] <= 1.001 + 1.0
        assert await later(batcher, 8, sec=5) == 16
    assert answers == [4, 8, 12]
    assert batcher.statistics().longest_wait_sec < 1.0


@on_virtual_time
async def test_a_call_that_is_cancelled_is_not_run() -> None:
    doubling = Doubling()
    async with opened(doubling) as batcher:
        asking = [asyncio.create_task(batcher.ask(number)) for number in (2, 4, 6)]
        first = asyncio.create_task(batcher.ask(8))
        await asyncio.sleep(0.5)
        leaving = asyncio.create_task(batcher.ask(10))
        staying = asyncio.create_task(batcher.ask(12))
        await asyncio.sleep(0)
        leaving.cancel()
        assert [await task for task in (*asking, first, staying)] == [4, 8, 12, 16, 24]
    assert doubling.batches == [[2, 4, 6, 8], [12]]


@on_virtual_time
async def test_a_call_that_is_cancelled_while_it_runs_hurts_nobody() -> None:
    doubling = Doubling()
    async with opened(doubling) as batcher:
        leaving = asyncio.create_task(batcher.ask(2))
        staying = asyncio.create_task(batcher.ask(4))
        await asyncio.sleep(0.5)
        leaving.cancel()
        assert await staying == 8
        assert await batcher.ask(6) == 12


@on_virtual_time
async def test_an_item_that_fails_fails_alone_and_a_batch_that_fails_fails_those_in_it() -> None:
    doubling = Doubling()
    async with opened(doubling) as batcher:
        first = await asyncio.gather(*map(batcher.ask, (2, 3, 4)), return_exceptions=True)
        second = await asyncio.gather(*map(batcher.ask, (2, -2)), return_exceptions=True)
        assert await batcher.ask(8) == 16
    assert [first[0], first[2]] == [4, 8]
    assert isinstance(first[1], ValueError)
    assert [type(error) for error in second] == [ArithmeticError, ArithmeticError]
    assert batcher.statistics().failed == 3


@on_virtual_time
async def test_a_function_that_loses_a_result_fails_all() -> None:
    async def forgetful(items: Sequence[int]) -> list[int | Exception]:
        return [0]

    async with open_batcher(forgetful, maximum_batch=4, longest_wait_ms=0) as batcher:
        answers = await asyncio.gather(*map(batcher.ask, (1, 2)), return_exceptions=True)
    assert [str(error) for error in answers] == ["expected 2 results of a batch, came 1"] * 2


@on_virtual_time
async def test_who_waits_when_it_is_closed_is_told_and_so_is_who_comes_later() -> None:
    doubling = Doubling()
    async with opened(doubling) as batcher:
        running = asyncio.create_task(batcher.ask(2))
        await asyncio.sleep(0.5)
        waiting = asyncio.create_task(batcher.ask(4))
        await asyncio.sleep(0)
    for call in (running, waiting, batcher.ask(6)):
        with pytest.raises(BackendUnavailable, match="being closed"):
            await call


@on_virtual_time
async def test_more_than_can_wait_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MOST_WAITING", 2)
    async with opened(Doubling()) as batcher:
        running = asyncio.create_task(batcher.ask(2))
        await asyncio.sleep(0.5)
        waiting = [asyncio.create_task(batcher.ask(number)) for number in (4, 6)]
        await asyncio.sleep(0)
        with pytest.raises(AtCapacity, match="2 calls"):
            await batcher.ask(8)
        assert await asyncio.gather(running, *waiting) == [4, 8, 12]
