"""One model, one thread: order, cancellation, streams, closing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

import pytest

from edge_client.models.thread import ModelThread, ModelThreadStatistics
from routing.errors import ModelError


@pytest.fixture
async def thread() -> AsyncIterator[ModelThread]:
    thread = ModelThread("fake")
    yield thread
    thread.close()
    await asyncio.to_thread(thread.join)


class Gate:
    """A call that stays busy until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self._opened = threading.Event()

    def __call__(self) -> str:
        self.entered.set()
        assert self._opened.wait(10)
        return "through"

    def open(self) -> None:
        self._opened.set()


async def occupied(thread: ModelThread) -> tuple[Gate, asyncio.Task[str]]:
    gate = Gate()
    task = asyncio.create_task(thread.run(gate))
    assert await asyncio.to_thread(gate.entered.wait, 10)
    return gate, task


async def test_calls_run_on_one_thread_in_the_order_asked(thread: ModelThread) -> None:
    order: list[int] = []

    def call(number: int) -> str:
        order.append(number)
        return threading.current_thread().name

    names = await asyncio.gather(*(thread.run(lambda n=n: call(n)) for n in range(5)))  # type: ignore[misc]
    assert order == [0, 1, 2, 3, 4]
    assert set(names) == {"fake_0"}


async def test_an_error_reaches_the_one_who_asked_and_nobody_else(thread: ModelThread) -> None:
    def fail() -> None:
        raise ValueError("no such word")

    with pytest.raises(ValueError, match="no such word"):
        await thread.run(fail)
    assert await thread.run(lambda: 7) == 7


async def test_a_call_cancelled_while_it_waits_is_never_made(thread: ModelThread) -> None:
    gate, busy = await occupied(thread)
    made: list[str] = []
    unwanted = asyncio.create_task(thread.run(lambda: made.append("unwanted")))
    wanted = asyncio.create_task(thread.run(lambda: made.append("wanted")))
    await asyncio.sleep(0)
    unwanted.cancel()
    with pytest.raises(asyncio.CancelledError):
        await unwanted
    gate.open()
    await asyncio.gather(busy, wanted)
    assert made == ["wanted"]


async def test_a_call_cancelled_while_it_runs_is_left_to_end_unheard(thread: ModelThread) -> None:
    gate, busy = await occupied(thread)
    busy.cancel()
    with pytest.raises(asyncio.CancelledError):
        await busy
    gate.open()
    assert await thread.run(lambda: "next") == "next"


async def test_statistics_count_waiting_and_ended_calls(thread: ModelThread) -> None:
    assert thread.statistics() == ModelThreadStatistics("fake", waiting=0, calls=0, busy_sec=0.0)
    gate, busy = await occupied(thread)
    queued = asyncio.create_task(thread.run(lambda: None))
    await asyncio.sleep(0)
    assert thread.statistics().waiting == 1
    assert thread.statistics().running_sec > 0
    gate.open()
    await asyncio.gather(busy, queued)
    ended = await thread.run(thread.statistics)
    assert (ended.waiting, ended.calls) == (0, 2)
    assert ended.busy_sec > 0
    assert thread.statistics().running_sec == 0


def count_to(limit: int, seen_by_producer: list[int] | None = None) -> Callable[[Callable[[int], bool]], None]:
    def produce(emit: Callable[[int], bool]) -> None:
        for number in range(limit):
            if emit(number):
                return
            if seen_by_producer is not None:
                seen_by_producer.append(number)

    return produce


async def test_a_stream_brings_every_value_in_order_and_ends(thread: ModelThread) -> None:
    assert [value async for value in thread.stream(count_to(100))] == list(range(100))


async def test_the_first_value_is_there_before_the_last_is_made(thread: ModelThread) -> None:
    gate = Gate()

    def produce(emit: Callable[[str], bool]) -> None:
        emit("early")
        emit(gate())

    async with aclosing(thread.stream(produce)) as values:
        assert await anext(values) == "early"
        gate.open()
        assert await anext(values) == "through"


async def test_a_failing_stream_gives_its_values_and_then_its_error(thread: ModelThread) -> None:
    def produce(emit: Callable[[int], bool]) -> None:
        emit(1)
        raise ValueError("out of words")

    received: list[int] = []
    with pytest.raises(ValueError, match="out of words"):
        async for value in thread.stream(produce):
            received.append(value)
    assert received == [1]


async def test_closing_the_generator_stops_the_producer(thread: ModelThread) -> None:
    told = threading.Event()

    def produce(emit: Callable[[str], bool]) -> None:
        while not emit("more"):
            pass
        told.set()

    values: AsyncGenerator[str] = thread.stream(produce)
    assert await anext(values) == "more"
    await values.aclose()
    assert await asyncio.to_thread(told.wait, 10)


async def test_a_stream_closed_while_it_waits_is_never_begun(thread: ModelThread) -> None:
    gate, busy = await occupied(thread)
    begun: list[int] = []
    values = thread.stream(count_to(3, begun))
    reading = asyncio.create_task(anext(values))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    gate.open()
    await busy
    await thread.run(lambda: None)
    assert begun == []


async def test_closing_drops_what_waits_and_runs_the_last_call_last() -> None:
    thread = ModelThread("closing")
    gate, busy = await occupied(thread)
    order: list[str] = []
    queued = asyncio.create_task(thread.run(lambda: order.append("queued")))
    stream = asyncio.create_task(anext(thread.stream(count_to(3))))
    await asyncio.sleep(0)
    thread.close(last=lambda: order.append("last"))
    gate.open()
    assert await busy == "through"
    for dropped in (queued, stream):
        with pytest.raises(ModelError, match="'closing' is closed"):
            await dropped
    await asyncio.to_thread(thread.join)
    assert order == ["last"]
    with pytest.raises(ModelError, match="'closing' is closed"):
        await thread.run(lambda: None)
    thread.close()


async def test_closing_tells_a_running_stream_to_stop() -> None:
    thread = ModelThread("closing")

    def produce(emit: Callable[[str], bool]) -> None:
        while not emit("more"):
            pass

    async with aclosing(thread.stream(produce)) as values:
        await anext(values)
        thread.close()
        await asyncio.to_thread(thread.join)


def test_a_producer_outlives_its_event_loop() -> None:
    thread = ModelThread("orphan")
    let_go, told = threading.Event(), threading.Event()

    def produce(emit: Callable[[str], bool]) -> None:
        emit("first")
        let_go.wait(10)
        if emit("too late"):
            told.set()

    async def read_one() -> None:
        values = thread.stream(produce)
        await anext(values)

    asyncio.run(read_one())
    let_go.set()
    assert told.wait(10)
    thread.close()
    thread.join()
