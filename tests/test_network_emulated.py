"""A bad network around the sockets of a real call, and what it leans on in aioice."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import numpy as np
import pytest
import uvloop
from aioice import Connection
from aioice.ice import StunProtocol

from edge_client.network.emulated import Emulation, emulate
from edge_client.network.profile import Cut, NetworkProfile
from edge_client.network.wire import TICK_SEC
from edge_client.webrtc.ice import LOOPBACK
from edge_client.webrtc.peer import Peer, PeerSettings
from routing.errors import InvalidRequest
from routing.turns import Samples
from tests.peers import Caller

SETTINGS = PeerSettings(listen_addresses=(LOOPBACK,))
DELAY_SEC = 0.06
FAR = NetworkProfile(name="far", delay_ms=DELAY_SEC * 1000)
PERFECT = NetworkProfile(name="perfect")
FAREWELL_SEC = 2.0  # that a peer waits for one; a lossy network may have lost it


class Echo:
    """Counts what it hears and sends every message back."""

    def __init__(self) -> None:
        self.peer: Peer
        self.heard_blocks = 0

    def heard(self, samples: Samples) -> None:
        self.heard_blocks += 1

    def received(self, text: str) -> None:
        self.peer.send(text)

    def opened(self) -> None:
        pass

    acknowledged = lost = opened

    def refused(self, fault: InvalidRequest) -> None:
        raise fault


class Call(NamedTuple):
    caller: Caller
    echo: Echo
    network: Emulation
    running: asyncio.Task[str]


@asynccontextmanager
async def call_over(profile: NetworkProfile, *, way_back: NetworkProfile | None = None) -> AsyncIterator[Call]:
    async with Caller() as caller:
        offer = await caller.offer()
        network = emulate(caller.ice, profile, seed=1, way_back=way_back)
        echo = Echo()
        echo.peer = await Peer.answer(offer, listener=echo, read=_silence, settings=SETTINGS)
        running = asyncio.create_task(echo.peer.run())
        await caller.accept(echo.peer.description)
        await caller.opened()
        yield Call(caller, echo, network, running)
    await asyncio.wait([running], timeout=FAREWELL_SEC)
    await echo.peer.close()
    await asyncio.wait([running])


def _silence(count: int) -> Samples:
    return np.zeros(count, np.float32)


# -- what aioice must have -------------------------------------------------------------------------------------------


def test_aioice_sends_through_the_transport_of_its_protocol() -> None:
    sent: list[tuple[Any, Any]] = []

    class Transport(asyncio.DatagramTransport):
        def sendto(self, data: Any, addr: Any = None) -> None:
            sent.append((data, addr))

    async def send() -> None:
        protocol = StunProtocol(Connection(ice_controlling=True))
        protocol.transport = Transport()
        await protocol.send_data(b"sound", ("192.0.2.1", 9))

    asyncio.run(send())
    assert sent == [(b"sound", ("192.0.2.1", 9))]


def test_aioice_closes_with_the_transport_and_waits_until_it_is_lost() -> None:
    assert list(inspect.signature(StunProtocol.datagram_received).parameters) == ["self", "data", "addr"]
    assert list(inspect.signature(StunProtocol.connection_lost).parameters) == ["self", "exc"]
    assert "self.transport.close()" in inspect.getsource(StunProtocol.close)


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_either_loop_finds_what_was_put_in_the_way(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def send_to_itself() -> tuple[bytes, Emulation]:
        connection = Connection(ice_controlling=True)
        await connection.get_component_candidates(1, [LOOPBACK])
        (protocol,) = connection._protocols
        network = Emulation(connection._protocols, PERFECT, seed=1, way_back=PERFECT)
        await protocol.send_data(b"sound", protocol.transport.get_extra_info("sockname"))
        async with asyncio.timeout(15):
            data = await connection._queue.get()
        await connection.close()
        assert data is not None
        return data[0], network

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        data, network = runner.run(send_to_itself())
    assert data == b"sound"
    assert network.statistics().outgoing.passed == network.statistics().incoming.passed == 1
    assert not network._sockets


# -- two real peers --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.usefixtures("nothing_left_behind")
class TestCall:
    async def test_everything_takes_longer_by_the_delay(self) -> None:
        async with call_over(FAR) as (caller, _, network, _):
            sent_at = asyncio.get_running_loop().time()
            caller.send({"type": "ping"})
            await caller.event("ping")
            assert asyncio.get_running_loop().time() - sent_at >= 2 * (DELAY_SEC - TICK_SEC)
            counts = network.statistics()
        assert counts.outgoing.lost == counts.incoming.lost == 0
        assert min(counts.outgoing.passed, counts.incoming.passed) > 10  # the handshake went through it

    async def test_what_is_lost_on_the_way_is_missing_at_the_other_end(self) -> None:
        lossy = NetworkProfile(name="lossy", loss=0.2, burst=0.5)
        async with call_over(lossy) as (caller, _, network, _):
            await caller.until(lambda: len(caller.heard) >= 60)
            counts = network.statistics()
            heard = len(caller.heard)
        assert counts.incoming.lost / counts.incoming.sent == pytest.approx(0.2, abs=0.15)
        assert counts.outgoing.lost > 0
        assert heard > 0

    async def test_the_way_back_may_be_another(self) -> None:
        lossy = NetworkProfile(name="lossy", loss=0.2)
        async with call_over(lossy, way_back=PERFECT) as (caller, echo, network, _):
            await caller.until(lambda: echo.heard_blocks >= 60)
            counts = network.statistics()
        assert counts.outgoing.lost > 0
        assert counts.incoming.lost == 0

    async def test_a_call_lives_through_a_cut(self) -> None:
        async with call_over(PERFECT) as (caller, echo, network, running):
            await caller.until(lambda: echo.heard_blocks > 10)
            network.cut()
            await asyncio.sleep(0.05)
            heard_before = echo.heard_blocks
            await asyncio.sleep(0.5)
            assert echo.heard_blocks <= heard_before + 15  # nothing but what the receiver makes up to fill the gap
            while network.statistics().outgoing.cut <= 15:  # after a stall less is sent in the same time
                await asyncio.sleep(0.02)
            network.restore()
            await caller.until(lambda: echo.heard_blocks > heard_before + 30)
            caller.send({"type": "ping"})
            await caller.event("ping")
            assert not running.done()

    async def test_a_planned_cut_comes_by_itself(self) -> None:
        tunnel = NetworkProfile(name="tunnel", cuts=(Cut(at_sec=0.5, duration_sec=0.3),))
        async with call_over(tunnel) as (caller, _, network, _):
            await caller.until(lambda: network.statistics().incoming.cut > 0)
            cut_from = network.statistics().incoming.passed
            await caller.until(lambda: network.statistics().incoming.passed > cut_from)

    async def test_the_farewell_arrives_before_the_socket_closes(self) -> None:
        async with call_over(FAR) as (_, _, _, running):
            pass
        assert running.result() == "hung up"
