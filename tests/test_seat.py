"""A seat keeps a contender's exchange, and its faults to itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from routing.errors import BackendUnavailable
from routing.seat import Seat
from routing.settings import RoutingSettings
from routing.turns import AudioChunk, Exchange, Heard, Turn
from tests.contenders import END, NEVER, SPEECH, TURN, Timed, TimedExchange, contender, sound
from tests.virtual_time import on_virtual_time

GONE = BackendUnavailable("gone")


@asynccontextmanager
async def seated(backend: Timed) -> AsyncIterator[Seat]:
    async with asyncio.TaskGroup() as tasks:
        seat = Seat(
            contender(backend),
            TURN,
            settings=RoutingSettings(),
            tasks=tasks,
            on_heard=lambda seat, heard: None,
            on_moved=lambda: None,
        )
        yield seat
        seat.leave()


class SlowToOpen(Timed):
    """Takes a second to open, which it should not."""

    @asynccontextmanager
    async def open(self, turn: Turn, *, on_heard: Callable[[Heard], None]) -> AsyncIterator[Exchange]:
        await asyncio.sleep(1)
        async with super().open(turn, on_heard=on_heard) as exchange:
            yield exchange


class Falling(Timed):
    """Breaks down by itself after a second, as where a connection's task fails."""

    @asynccontextmanager
    async def open(self, turn: Turn, *, on_heard: Callable[[Heard], None]) -> AsyncIterator[Exchange]:
        async with super().open(turn, on_heard=on_heard) as exchange, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._fall())
            yield exchange

    async def _fall(self) -> None:
        await asyncio.sleep(1)
        raise GONE


class DeafExchange(TimedExchange):
    def feed(self, chunk: AudioChunk) -> None:
        raise ValueError("a mistake")


class Deaf(Timed):
    """Cannot be fed."""

    @asynccontextmanager
    async def open(self, turn: Turn, *, on_heard: Callable[[Heard], None]) -> AsyncIterator[Exchange]:
        yield DeafExchange(turn, self.steps, on_heard)


@on_virtual_time
async def test_what_comes_before_it_is_open_is_kept() -> None:
    backend = SlowToOpen("cloud", 0.1, sound(1), END)
    async with seated(backend) as seat:
        seat.feed(SPEECH)
        track = seat.ask(is_wanted=True)
        seat.commit()
        await asyncio.sleep(2)
        (exchange,) = backend.exchanges
        assert (exchange.chunks, exchange.is_committed) == ([SPEECH], True)
        assert track.is_ready
        assert round(track.response_sec or 0, 3) == 1.1


@on_virtual_time
async def test_an_exchange_that_breaks_down_takes_its_reply_with_it_and_nothing_else() -> None:
    async with seated(Falling("cloud", NEVER)) as seat:
        track = seat.ask(is_wanted=True)
        await asyncio.sleep(2)
        assert track.fault is seat.fault is GONE
        seat.feed(SPEECH)
        seat.commit()


@on_virtual_time
async def test_one_that_cannot_be_fed_is_out() -> None:
    async with seated(Deaf("cloud", NEVER)) as seat:
        await asyncio.sleep(0.1)
        track = seat.ask(is_wanted=True)
        seat.feed(SPEECH)
        assert track.fault is seat.fault is not None


@on_virtual_time
async def test_the_next_reply_is_asked_for_when_the_one_before_was_let_go_of() -> None:
    backend = Timed("cloud", 0.1, sound(1), NEVER)
    async with seated(backend) as seat:
        for _ in range(3):
            seat.ask(is_wanted=True)
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        (exchange,) = backend.exchanges
        assert (exchange.asked, exchange.rolled_back) == (3, 2)
    assert exchange.rolled_back == 3


@on_virtual_time
async def test_a_turn_that_is_dropped_frees_everything() -> None:
    backend = Timed("cloud", 0.1, sound(1), NEVER)

    async def turn() -> None:
        async with seated(backend) as seat:
            seat.ask(is_wanted=True)
            await asyncio.sleep(60)

    serving = asyncio.create_task(turn())
    await asyncio.sleep(1)
    serving.cancel()
    await asyncio.wait([serving])
    (exchange,) = backend.exchanges
    assert exchange.is_closed
    assert not exchange.is_replying


@on_virtual_time
async def test_a_broken_exchange_counts_once_however_often_it_is_asked() -> None:
    backend = Timed("cloud", GONE)
    async with seated(backend) as seat:
        for _ in range(3):
            seat.feed(SPEECH)
            track = seat.ask(is_wanted=True)
            await asyncio.sleep(0.1)
            assert track.fault is GONE
        outlook = seat.contender.outlook
        assert backend.asked == 3
        assert outlook.prospect(1.0, asyncio.get_running_loop().time()).why_not is None  # three in a row open a circuit
