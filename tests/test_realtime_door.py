"""Taking connections from a socket that others take from as well."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import cast

import pytest

from edge_client.realtime.door import Door


class Greeter(asyncio.Protocol):
    """Says who took the connection, and ends it."""

    def __init__(self, name: bytes) -> None:
        self._name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        both_ways = cast(asyncio.Transport, transport)
        both_ways.write(self._name)
        both_ways.close()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


async def taker(listening: socket.socket) -> bytes:
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    name = await reader.read()
    writer.close()
    return name


async def test_only_an_open_door_takes_connections(nothing_left_behind: None, listening: socket.socket) -> None:
    first = Door(listening, lambda: Greeter(b"first"))
    second = Door(listening, lambda: Greeter(b"second"))
    first.set_open(True)
    assert await taker(listening) == b"first"
    first.set_open(False)
    second.set_open(True)
    assert await taker(listening) == b"second"
    second.set_open(False)
    waiting = asyncio.create_task(taker(listening))
    done, _ = await asyncio.wait([waiting], timeout=0.05)
    assert not done
    first.set_open(True)
    assert await waiting == b"first"
    first.set_open(False)


async def test_a_crowd_is_shared(nothing_left_behind: None, listening: socket.socket) -> None:
    with listening.dup() as same:  # as another process has it
        first, second = Door(listening, lambda: Greeter(b"first")), Door(same, lambda: Greeter(b"second"))
        first.set_open(True)
        second.set_open(True)
        takers = await asyncio.gather(*(taker(listening) for _ in range(20)))
        assert set(takers) == {b"first", b"second"}
        first.set_open(False)
        second.set_open(False)


async def test_a_door_that_cannot_take_more_rests(
    nothing_left_behind: None, listening: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    class Exhausted:
        def fileno(self) -> int:
            return listening.fileno()

        def accept(self) -> tuple[socket.socket, object]:
            raise OSError(24, "Too many open files")

    exhausted = Door(cast(socket.socket, Exhausted()), lambda: Greeter(b"never"))
    exhausted.set_open(True)
    waiting = asyncio.create_task(taker(listening))
    while not caplog.records:
        await asyncio.sleep(0)
    assert "Too many open files" in caplog.text
    other = Door(listening, lambda: Greeter(b"other"))
    other.set_open(True)
    assert await waiting == b"other"
    other.set_open(False)
    assert len(caplog.records) == 1
