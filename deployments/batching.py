"""Single calls of many, gathered into batches for a function that works on a list.

Tuned for conversations: a lone call is run at once. While a batch runs, those who come meanwhile make up the next one.
Only where the model has no time to spare, and another call is about to come, does a batch wait for it, never for long.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from deployments.gathering import Gathering
from routing.errors import AtCapacity, BackendUnavailable

MOST_WAITING = 1024  # calls; more are refused

type Run[T, R] = Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]]
"""One result for each item, in their order; an exception in the place of a result is that of its item alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatistics:
    """Since the start: ``calls`` were run in ``batches``, ``failed`` of them in vain. ``waiting`` is now."""

    batches: int
    calls: int
    failed: int
    waiting: int
    largest: int
    mean_wait_sec: float  # from the call to the start of its batch
    longest_wait_sec: float

    @property
    def mean_size(self) -> float:
        return self.calls / self.batches if self.batches else 0.0


@dataclass(slots=True)
class _Tally:
    """What is counted."""

    batches: int = 0
    calls: int = 0
    failed: int = 0
    largest: int = 0
    wait_sec: float = 0.0
    longest_wait_sec: float = 0.0
    sizes: Counter[int] = field(default_factory=Counter)

    def began(self, waits_sec: Sequence[float]) -> None:
        self.batches += 1
        self.sizes[len(waits_sec)] += 1
        self.calls += len(waits_sec)
        self.largest = max(self.largest, len(waits_sec))
        self.wait_sec += sum(waits_sec)
        self.longest_wait_sec = max(self.longest_wait_sec, *waits_sec)


@dataclass(slots=True, eq=False)
class _Call[T, R]:
    item: T
    came_at: float
    answer: asyncio.Future[R] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Batcher[T, R]:
    """Runs one batch at a time with ``run``. Opened by `open_batcher`."""

    def __init__(self, run: Run[T, R], *, maximum_batch: int, longest_wait_ms: float) -> None:
        self._run = run
        self._gathering = Gathering(maximum_batch=maximum_batch, longest_wait_sec=longest_wait_ms / 1000)
        self._waiting: list[_Call[T, R]] = []
        self._changed = asyncio.Event()
        self._closed = False
        self._tally = _Tally()

    async def ask(self, item: T) -> R:
        """The result for ``item``. A call that is cancelled before its batch starts is not in it.

        Raises:
            AtCapacity: so many wait already that one more would wait for long.
            BackendUnavailable: the batcher is closed.
            Exception: what ``run`` raised, or returned in place of this result.
        """
        self._check_room()
        now = asyncio.get_running_loop().time()
        call = _Call[T, R](item, now)
        self._waiting.append(call)
        self._gathering.arrive(now)
        self._changed.set()
        try:
            return await call.answer
        finally:
            if call in self._waiting:
                self._waiting.remove(call)
                self._changed.set()

    def statistics(self) -> BatchStatistics:
        tally = self._tally
        return BatchStatistics(
            batches=tally.batches,
            calls=tally.calls,
            failed=tally.failed,
            waiting=len(self._waiting),
            largest=tally.largest,
            mean_wait_sec=tally.wait_sec / tally.calls if tally.calls else 0.0,
            longest_wait_sec=tally.longest_wait_sec,
        )

    def sizes(self) -> Mapping[int, int]:
        """How many batches there were of each size, since the start."""
        return dict(self._tally.sizes)

    async def work(self) -> None:
        """Run batches until cancelled; then nobody is left waiting."""
        try:
            while True:
                await self._answer(await self._gathered())
        finally:
            self._closed = True
            for call in self._waiting:
                _fail(call, BackendUnavailable("the model is being closed"))

    def _check_room(self) -> None:
        if self._closed:
            raise BackendUnavailable("the model is being closed")
        if len(self._waiting) >= MOST_WAITING:
            wait_sec = self._tally.longest_wait_sec
            raise AtCapacity(f"{MOST_WAITING} calls of one model wait already", retry_after_sec=max(wait_sec, 0.1))

    async def _gathered(self) -> list[_Call[T, R]]:
        """The next batch, when it is time for it."""
        clock = asyncio.get_running_loop().time
        while True:
            self._changed.clear()
            run_at = self._run_at(clock())
            if run_at is not None and run_at <= clock():
                return self._taken()
            try:
                async with asyncio.timeout_at(run_at):
                    await self._changed.wait()
            except TimeoutError:
                return self._taken()

    def _run_at(self, now: float) -> float | None:
        if not self._waiting:
            return None
        return self._gathering.run_at(waiting=len(self._waiting), oldest=self._waiting[0].came_at, now=now)

    def _taken(self) -> list[_Call[T, R]]:
        most = self._gathering.maximum_batch
        batch, self._waiting = self._waiting[:most], self._waiting[most:]
        return batch

    async def _answer(self, batch: Sequence[_Call[T, R]]) -> None:
        if not batch:  # all were cancelled at the moment at which they were due
            return
        clock = asyncio.get_running_loop().time
        began = clock()
        self._tally.began([began - call.came_at for call in batch])
        results = await self._results(batch)
        self._gathering.ran(began=began, now=clock())
        for call, result in zip(batch, results, strict=True):
            if isinstance(result, Exception):
                self._tally.failed += 1
                _fail(call, result)
            elif not call.answer.done():
                call.answer.set_result(result)

    async def _results(self, batch: Sequence[_Call[T, R]]) -> Sequence[R | Exception]:
        """One for each of ``batch``; where the batch fails as a whole, its failure for all."""
        try:
            results = await self._run([call.item for call in batch])
        except asyncio.CancelledError:
            for call in batch:
                _fail(call, BackendUnavailable("the model is being closed"))
            raise
        except Exception as error:  # noqa: BLE001 it is told to all who asked
            return [error] * len(batch)
        if len(results) != len(batch):
            return [RuntimeError(f"expected {len(batch)} results of a batch, came {len(results)}")] * len(batch)
        return results


@asynccontextmanager
async def open_batcher[T, R](
    run: Run[T, R], *, maximum_batch: int, longest_wait_ms: float
) -> AsyncIterator[Batcher[T, R]]:
    """A batcher at work. Leaving does not wait for the batch that runs; who still waits gets BackendUnavailable."""
    batcher = Batcher(run, maximum_batch=maximum_batch, longest_wait_ms=longest_wait_ms)
    working = asyncio.create_task(batcher.work())
    try:
        yield batcher
    finally:
        working.cancel()
        await asyncio.wait([working])


def _fail[T, R](call: _Call[T, R], error: Exception) -> None:
    if not call.answer.done():
        call.answer.set_exception(error)
