"""Connections that ask for a session, and which worker has them in the end."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack

import httpx
import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from edge_client.realtime.entrance import MAXIMUM_HEAD_BYTES, Entrance
from edge_client.settings import EdgeSettings
from edge_client.workers import crew
from tests.crew import Workplace, running_crew, running_worker, workplace
from tests.edge import RunningEdge

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]  # several workers start for each story


@pytest.fixture
def place() -> Iterator[Workplace]:
    with workplace(3) as place:
        yield place


async def session(edge: RunningEdge) -> ClientConnection:
    connection = await websockets.connect(edge.socket_url, proxy=None)
    assert json.loads(await connection.recv())["type"] == "session.created"
    return connection


def sessions(edges: list[RunningEdge]) -> list[int]:
    return [edge.edge.sessions for edge in edges]


async def test_sessions_are_spread_and_each_is_a_session_like_any(nothing_left_behind: None, place: Workplace) -> None:
    async with running_crew(place, workers=3, maximum_sessions=15) as edges, AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(await session(edges[0])) for _ in range(3)]
        assert sessions(edges) == [1, 1, 1]
        for connection in connections:
            await connection.send(json.dumps({"type": "session.update", "session": {"type": "realtime"}}))
            assert json.loads(await connection.recv())["type"] == "session.updated"


async def test_a_crowd_fills_all_places_of_all_workers(
    nothing_left_behind: None, place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "PROMISE_SEC", 60.0)  # however long it takes until all have their places
    async with running_crew(place, workers=3, maximum_sessions=8) as edges, AsyncExitStack() as stack:
        for connection in await asyncio.gather(*(session(edges[number % 2]) for number in range(8))):
            stack.push_async_callback(connection.close)
        assert sessions(edges) == [3, 3, 2]
        for edge in edges:
            with pytest.raises(websockets.InvalidStatus) as refused:
                await session(edge)
            assert refused.value.response.status_code == 503


async def test_a_request_that_comes_in_pieces_is_understood(place: Workplace) -> None:
    async with running_crew(place, workers=3, maximum_sessions=15) as edges, AsyncExitStack() as stack:
        await stack.enter_async_context(await session(edges[0]))
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(edges[0].url).port)
        key = "dGhlIHNhbXBsZSBub25jZQ=="
        request = (
            "GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        ).encode()
        for start in range(0, len(request), 7):
            writer.write(request[start : start + 7])
            await writer.drain()
            await asyncio.sleep(0)
        assert b"101" in await reader.readline()
        assert sessions(edges) == [1, 1, 0]
        writer.close()


class Server(asyncio.Protocol):
    def __init__(self) -> None:
        self.taken = 0

    def data_received(self, data: bytes) -> None:
        self.taken += len(data)


@pytest.mark.parametrize(("size", "expected"), [(MAXIMUM_HEAD_BYTES, 1), (MAXIMUM_HEAD_BYTES + 1, 0)])
async def test_a_request_with_too_long_a_head_does_not_move(size: int, expected: int) -> None:
    moved: list[bytes] = []

    def move(_: int, head: bytes) -> bool:
        moved.append(head)
        return False

    loop, server, (ours, theirs) = asyncio.get_running_loop(), Server(), socket.socketpair()
    ours.setblocking(False)
    with ours:
        transport, _ = await loop.connect_accepted_socket(lambda: Entrance(server, move), theirs)
        beginning, end = b"GET /v1/realtime HTTP/1.1\r\nCookie: ", b"\r\n\r\n"
        await loop.sock_sendall(ours, beginning.ljust(size - len(end), b"x") + end)
        async with asyncio.timeout(5):
            while not server.taken:
                await asyncio.sleep(0.01)
        transport.abort()
    assert (len(moved), server.taken) == (expected, size)


async def test_other_requests_stay_where_they_came(place: Workplace) -> None:
    async with running_crew(place, workers=3, maximum_sessions=15) as edges, AsyncExitStack() as stack:
        await stack.enter_async_context(await session(edges[0]))
        async with httpx.AsyncClient(base_url=edges[0].url) as client:
            assert (await client.get("/v1/statistics")).json()["sessions"] == 1
            assert (await client.get("/healthz")).json() == {"status": "ok", "sessions": 1}
            assert (await client.get("/v1/realtimes")).status_code == 404
            assert (await client.get("/v1/realtime")).status_code in (404, 405)  # no upgrade: no session either


async def test_a_worker_that_has_gone_is_passed_over(place: Workplace) -> None:
    whole = EdgeSettings(workers=3)
    async with running_worker(place, whole, number=0) as edge, AsyncExitStack() as stack:
        async with running_worker(place, whole, number=2):
            pass
        for _ in range(2):
            await stack.enter_async_context(await session(edge))
        assert edge.edge.sessions == 2
