"""Two ends of aioice on loopback: who checks whom, and how little is waited for."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aioice.ice
import pytest
from aioice import Connection
from aioice.ice import CandidatePair, StunProtocol
from aioice.stun import Class, Message, Method

from edge_client.webrtc.checks import MOST_ADDRESSES, hasten
from edge_client.webrtc.ice import LOOPBACK

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


async def test_the_private_names_of_aioice_are_there() -> None:
    connection = Connection(ice_controlling=True)
    assert connection._check_list == []
    assert connection._check_list_done is False
    assert connection._closing is False
    assert not connection._early_checks
    assert connection._nominated == {}
    assert connection._remote_candidates == []
    assert connection._check_periodic() is True
    for method, parameters in {
        "check_incoming": ["message", "addr", "protocol"],
        "request_received": ["message", "addr", "protocol"],
        "check_start_task": ["pair"],
        "check_state": ["pair", "state"],
        "check_complete": ["pair"],
    }.items():
        assert list(inspect.signature(getattr(connection, method)).parameters) == parameters
    assert {"WAITING", "FROZEN", "SUCCEEDED"} < {state.name for state in CandidatePair.State}
    await connection.close()


class Ends:
    """A caller, who knows where the edge is, and the edge, which knows nothing of the caller but its credentials."""

    def __init__(self) -> None:
        self.caller = Connection(ice_controlling=True)
        self.edge = Connection(ice_controlling=False)
        self.checks = 0
        hasten(self.caller, on_check=lambda *_: None)
        hasten(self.edge, on_check=self._count)

    def _count(self, *_: object) -> None:
        self.checks += 1

    async def introduce(self) -> None:
        for one, other in ((self.caller, self.edge), (self.edge, self.caller)):
            await one.gather_candidates()
            other.remote_username, other.remote_password = one.local_username, one.local_password
        for candidate in self.edge.local_candidates:
            await self.caller.add_remote_candidate(candidate)

    @property
    def door(self) -> StunProtocol:
        return self.edge._protocols[0]


@asynccontextmanager
async def introduced() -> AsyncIterator[Ends]:
    ends = Ends()
    await ends.introduce()
    yield ends
    await ends.caller.close()
    await ends.edge.close()


@pytest.fixture(autouse=True)
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: [LOOPBACK])


async def test_a_caller_without_candidates_is_found_by_its_check() -> None:
    async with introduced() as ends:
        await asyncio.gather(ends.caller.connect(), ends.edge.connect())
        await ends.caller.send(b"hello")
        await ends.edge.send(b"who is there?")
        assert await ends.edge.recv() == b"hello"
        assert await ends.caller.recv() == b"who is there?"
        assert ends.checks >= 1


async def test_the_edge_does_not_wait_for_the_answer_to_a_check_of_its_own() -> None:
    async with introduced() as ends:
        ends.caller.request_received = lambda *_: None  # type: ignore[method-assign]
        await asyncio.gather(ends.caller.connect(), ends.edge.connect())
        await ends.edge.send(b"hello")
        assert await ends.caller.recv() == b"hello"


async def test_a_caller_who_nominates_later_is_waited_for() -> None:
    async with introduced() as ends:
        ends.caller.remote_is_lite = True  # aioice then checks first, and nominates with another check
        await asyncio.gather(ends.caller.connect(), ends.edge.connect())
        await ends.edge.send(b"hello")
        assert await ends.caller.recv() == b"hello"


async def test_nothing_is_polled_until_somebody_calls() -> None:
    async with introduced() as ends:
        looks = 0
        look = ends.edge._check_periodic

        def count() -> bool:
            nonlocal looks
            looks += 1
            return look()

        ends.edge._check_periodic = count  # type: ignore[method-assign]
        connecting = asyncio.create_task(ends.edge.connect())
        await asyncio.sleep(0.1)
        assert looks == 0
        await ends.caller.connect()
        await connecting
        assert looks == 1


async def test_a_check_without_the_password_wakes_nobody() -> None:
    async with introduced() as ends:
        connecting = asyncio.create_task(ends.edge.connect())
        for number in range(10):
            ends.edge.request_received(check(ends.edge, "x" * 22), (LOOPBACK, 40_000 + number), ends.door)
        await asyncio.sleep(0.05)
        assert ends.checks == 0
        assert ends.edge._remote_candidates == []
        assert not connecting.done()
        await ends.caller.connect()
        await connecting


async def test_a_caller_who_checks_from_everywhere_is_kept_with_a_few_addresses() -> None:
    async with introduced() as ends:
        await asyncio.gather(ends.caller.connect(), ends.edge.connect())
        for number in range(200):
            ends.edge.request_received(check(ends.edge), (LOOPBACK, 40_000 + number), ends.door)
        assert len(ends.edge._remote_candidates) == MOST_ADDRESSES
        assert len(ends.edge._check_list) <= MOST_ADDRESSES


async def test_a_later_check_moves_the_call_only_after_it_was_checked_back() -> None:
    async with introduced() as ends:
        await asyncio.gather(ends.caller.connect(), ends.edge.connect())
        first = ends.edge._nominated[1]
        ends.edge.request_received(check(ends.edge), (LOOPBACK, 40_000), ends.door)
        await asyncio.sleep(0.02)
        assert ends.edge._nominated[1] is first


async def test_closing_ends_the_wait() -> None:
    async with introduced() as ends:
        connecting = asyncio.create_task(ends.edge.connect())
        await asyncio.sleep(0)
        await ends.edge.close()
        with pytest.raises(ConnectionError, match="closed before anybody called"):
            await connecting


async def test_all_ways_are_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: [LOOPBACK, "127.0.0.2", "127.0.0.3"])
    async with introduced() as ends:
        connecting = asyncio.create_task(ends.caller.connect())
        await asyncio.sleep(0)
        started = [pair for pair in ends.caller._check_list if pair.task]
        assert len(started) == 5  # of nine
        await ends.edge.connect()
        await connecting


def check(edge: Connection, password: str | None = None) -> Message:
    """What a caller sends to an address of the edge, of which it wants to use each."""
    message = Message(message_method=Method.BINDING, message_class=Class.REQUEST)
    message.attributes["USERNAME"] = f"{edge.local_username}:{edge.remote_username}"
    message.attributes["PRIORITY"] = 1
    message.attributes["ICE-CONTROLLING"] = 1
    message.attributes["USE-CANDIDATE"] = None
    message.add_message_integrity((password or edge.local_password).encode())
    return message
