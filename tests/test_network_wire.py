"""Packets under way: handed over when they are due, in order, and forgotten when the wire is closed."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from edge_client.network.profile import NetworkProfile
from edge_client.network.wire import TICK_SEC, Wire
from tests.virtual_time import on_virtual_time

SIZE = 100
FAR = NetworkProfile(name="far", delay_ms=100)
UNEVEN = NetworkProfile(name="uneven", delay_ms=20, jitter_ms=20)


@on_virtual_time
async def test_a_packet_arrives_when_it_is_due() -> None:
    wire, arrived_at = Wire(FAR, seed=1), list[float]()
    for _ in range(3):
        wire.carry(SIZE, lambda: arrived_at.append(asyncio.get_running_loop().time()))
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)
    assert arrived_at == [pytest.approx(due, abs=TICK_SEC) for due in (0.10, 0.12, 0.14)]


@on_virtual_time
async def test_a_perfect_network_adds_not_even_a_turn_of_the_loop() -> None:
    wire, arrived = Wire(NetworkProfile(name="perfect"), seed=1), list[int]()
    wire.carry(SIZE, lambda: arrived.append(1))
    assert arrived == [1]


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_packets_stay_in_order_on_either_loop(loop_factory: type[asyncio.AbstractEventLoop]) -> None:
    arrived: list[int] = []

    async def send() -> None:
        wire = Wire(UNEVEN, seed=1)
        for number in range(200):
            wire.carry(SIZE, lambda number=number: arrived.append(number))  # type: ignore[misc]
            await asyncio.sleep(0.0007)
        while len(arrived) < 200:
            await asyncio.sleep(0.001)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(send())
    assert arrived == list(range(200))


@on_virtual_time
async def test_what_is_lost_or_cut_never_arrives() -> None:
    wire, arrived = Wire(NetworkProfile(name="lossy", delay_ms=10, loss=0.3), seed=1), list[int]()
    for number in range(100):
        wire.carry(SIZE, lambda: arrived.append(1))
        wire.cut() if number == 60 else None
    wire.restore()
    wire.carry(SIZE, lambda: arrived.append(1))
    await asyncio.sleep(1.0)
    counts = wire.statistics()
    assert len(arrived) == counts.passed
    assert counts.cut == 39
    assert counts.lost > 0


@on_virtual_time
async def test_the_follower_comes_right_after_all_that_is_under_way() -> None:
    wire, order = Wire(NetworkProfile(name="loose", delay_ms=50, jitter_ms=50, reorder=True), seed=1), list[str]()
    for _ in range(20):
        wire.carry(SIZE, lambda: order.append("packet"))
    wire.follow(lambda: order.append("follower"))
    await asyncio.sleep(1.0)
    assert order == ["packet"] * 20 + ["follower"]


@on_virtual_time
async def test_a_closed_wire_delivers_nothing_and_leaves_no_timer() -> None:
    wire, arrived = Wire(FAR, seed=1), list[int]()
    wire.carry(SIZE, lambda: arrived.append(1))
    wire.close()
    await asyncio.sleep(1.0)
    assert arrived == []
    assert wire._timer is None


@on_virtual_time
async def test_a_receiver_that_fails_does_not_stop_the_others() -> None:
    faults: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(str(context["exception"])))
    wire, arrived = Wire(FAR, seed=1), list[int]()

    def fail() -> None:
        raise RuntimeError("no room")

    wire.carry(SIZE, fail)
    wire.carry(SIZE, lambda: arrived.append(1))
    await asyncio.sleep(1.0)
    assert (faults, arrived) == (["no room"], [1])
