"""Two machines on this one: what goes through the network between them, and what is left when they are gone."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from edge_client.network.emulated import EmulationStatistics
from edge_client.network.profile import NetworkProfile
from tests.namespaces import NAMED, Machine, Network, namespaces, needs_namespaces

PORT = 4000
WAIT_SEC = 15.0  # for the forwarder, a process of its own that a busy machine may keep waiting
DELAY_SEC = 0.04
FAR = NetworkProfile(name="far", delay_ms=DELAY_SEC * 1000)
PERFECT = NetworkProfile(name="perfect")

pytestmark = [needs_namespaces, pytest.mark.slow, pytest.mark.usefixtures("nothing_left_behind")]


class Datagrams(asyncio.DatagramProtocol):
    """A socket of one of the machines that keeps what it receives."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.put_nowait(data)

    async def next(self) -> bytes:
        async with asyncio.timeout(WAIT_SEC):
            return await self.received.get()


class Echo(Datagrams):
    def datagram_received(self, data: bytes, addr: Any) -> None:
        super().datagram_received(data, addr)
        self.transport.sendto(data, addr)


def socket_on(network: Network, machine: Machine, kind: socket.SocketKind) -> socket.socket:
    with network.inside(machine):
        opened = socket.socket(socket.AF_INET, kind)
    opened.setblocking(False)
    return opened


async def datagrams[P: Datagrams](network: Network, machine: Machine, protocol: P) -> P:
    opened = socket_on(network, machine, socket.SOCK_DGRAM)
    opened.bind((machine.address, PORT))
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: protocol, sock=opened)
    return protocol


@asynccontextmanager
async def pair(network: Network) -> AsyncIterator[tuple[Datagrams, Echo]]:
    """Someone near who talks to an echo far away."""
    near, far = await datagrams(network, network.near, Datagrams()), await datagrams(network, network.far, Echo())
    yield near, far
    near.transport.close()
    far.transport.close()


async def test_datagrams_take_their_time_there_and_back() -> None:
    async with namespaces(FAR) as network, pair(network) as (near, _):
        sent_at = asyncio.get_running_loop().time()
        near.transport.sendto(b"hello", (network.far.address, PORT))
        assert await near.next() == b"hello"
        assert asyncio.get_running_loop().time() - sent_at >= 2 * DELAY_SEC
        counts = await network.statistics()
        assert (counts.outgoing.passed, counts.incoming.passed) == (1, 1)  # theirs, and nothing but theirs


async def counted(network: Network, condition: Callable[[EmulationStatistics], bool]) -> EmulationStatistics:
    """What became of the packets, once it is so."""
    async with asyncio.timeout(WAIT_SEC):
        while not condition(counts := await network.statistics()):
            await asyncio.sleep(0.02)
    return counts


async def test_what_is_lost_is_lost() -> None:
    async with namespaces(NetworkProfile(name="lossy", loss=0.3, burst=0.5)) as network, pair(network) as (near, far):
        for number in range(200):
            near.transport.sendto(number.to_bytes(), (network.far.address, PORT))
            await asyncio.sleep(0.001)
        there = await counted(network, lambda counts: counts.outgoing.sent == 200)
        back = await counted(network, lambda counts: counts.incoming.sent == there.outgoing.passed)
        await counted(network, lambda _: near.received.qsize() >= back.incoming.passed)
        await asyncio.sleep(0.1)  # whatever else may come
        counts = await network.statistics()
        assert far.received.qsize() == counts.outgoing.passed == counts.incoming.sent
        assert near.received.qsize() == counts.incoming.passed
        assert counts.outgoing.lost / 200 == pytest.approx(0.3, abs=0.2)


async def test_a_cut_lets_nothing_through_until_it_is_restored() -> None:
    async with namespaces(PERFECT) as network, pair(network) as (near, _):
        await network.cut()
        near.transport.sendto(b"cut", (network.far.address, PORT))
        await counted(network, lambda counts: counts.outgoing.cut == 1)
        await network.restore()
        near.transport.sendto(b"restored", (network.far.address, PORT))
        assert await near.next() == b"restored"
        assert (await network.statistics()).outgoing.cut == 1


async def test_a_stream_arrives_whole_through_loss() -> None:
    sent = os.urandom(300_000)
    received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.set_result(await reader.read(-1))
        writer.close()

    lossy = NetworkProfile(name="lossy", delay_ms=5, loss=0.02, rate_kbps=20_000)
    async with namespaces(lossy) as network:
        listening = socket_on(network, network.far, socket.SOCK_STREAM)
        listening.bind((network.far.address, PORT))
        async with await asyncio.start_server(receive, sock=listening):
            connecting = socket_on(network, network.near, socket.SOCK_STREAM)
            await asyncio.get_running_loop().sock_connect(connecting, (network.far.address, PORT))
            _, writer = await asyncio.open_connection(sock=connecting)
            writer.write(sent)
            writer.write_eof()
            assert await received == sent
            writer.close()
            await writer.wait_closed()
        assert (await network.statistics()).outgoing.lost > 0


async def test_programs_find_themselves_on_their_machine() -> None:
    async with namespaces(PERFECT) as network:
        command = network.command(network.near, "ip", "-brief", "address")
        program = await asyncio.to_thread(network.program, network.far, "ip")
        assert await addresses(*command) == ["127.0.0.1/8", "10.9.0.1/24"]
        assert await addresses(str(program), "-brief", "address") == ["127.0.0.1/8", "10.9.0.2/24"]


async def test_networks_do_not_disturb_each_other() -> None:
    async with namespaces(PERFECT) as one, namespaces(PERFECT) as other, pair(one) as (near, _):
        deaf = await datagrams(other, other.far, Datagrams())
        near.transport.sendto(b"hello", (one.far.address, PORT))
        assert await near.next() == b"hello"
        assert deaf.received.empty()
        deaf.transport.close()


async def test_nothing_is_left_when_the_story_ends_badly() -> None:
    with pytest.raises(RuntimeError, match="the end"):
        async with namespaces(PERFECT) as network:
            assert await asyncio.to_thread((NAMED / network.near.name).exists)
            raise RuntimeError("the end")
    assert network.near.name not in await asyncio.to_thread(own_namespaces)
    assert network.far.name not in await asyncio.to_thread(own_namespaces)


async def test_nothing_is_left_when_it_is_cancelled_at_the_start() -> None:
    async def build() -> None:
        async with namespaces(PERFECT):
            raise AssertionError("this is never reached")

    building = asyncio.create_task(build())
    await asyncio.sleep(0.005)
    building.cancel()
    await asyncio.wait([building])
    assert building.cancelled()
    assert not await asyncio.to_thread(own_namespaces)


def own_namespaces() -> set[str]:
    return {path.name for path in NAMED.glob(f"antiphon-{os.getpid()}-*")}


async def addresses(*command: str) -> list[str]:
    program = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await program.communicate()
    return [line.split()[2] for line in out.decode().splitlines()]
