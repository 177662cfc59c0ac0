"""A bad way for TCP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from edge_client.network.relay import Address, Relay, open_relay


class Shouter:
    """Says everything back, louder; at its end says goodbye."""

    def __init__(self) -> None:
        self.spoke = asyncio.Event()

    async def shout(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1024):
            writer.write(data.upper())
            self.spoke.set()
        writer.write(b"BYE")
        writer.close()


class Talk:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, words: bytes) -> bytes:
        self.writer.write(words)
        return await self.reader.read(1024)


@asynccontextmanager
async def shouting(shouter: Shouter | None = None) -> AsyncIterator[Address]:
    server = await asyncio.start_server((shouter or Shouter()).shout, "127.0.0.1", 0)
    try:
        yield Address(*server.sockets[0].getsockname())
    finally:
        server.close()


@asynccontextmanager
async def talking(target: Address | None) -> AsyncIterator[tuple[Relay, Talk]]:
    async with open_relay(target) as (relay, address):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        try:
            yield relay, Talk(reader, writer)
        finally:
            writer.transport.abort()


async def test_a_good_way_carries_both_directions_to_their_ends(nothing_left_behind: None) -> None:
    async with shouting() as target, talking(target) as (_, talk):
        assert await talk.say(b"hello") == b"HELLO"
        talk.writer.write_eof()
        assert await talk.reader.read() == b"BYE"


async def test_what_sets_out_takes_its_time_and_nothing_overtakes(nothing_left_behind: None) -> None:
    now, shouter = asyncio.get_running_loop().time, Shouter()
    async with shouting(shouter) as target, talking(target) as (relay, talk):
        await talk.say(b"first")
        shouter.spoke.clear()
        relay.slow(there_sec=0.02, back_sec=0.05)
        began = now()
        slow = asyncio.create_task(talk.say(b"slow"))
        await shouter.spoke.wait()
        await asyncio.sleep(0.01)  # the answer is under way
        relay.slow()
        assert await slow == b"SLOW"
        assert now() - began >= 0.069  # a timer may be a little early
        assert await talk.say(b"quick") == b"QUICK"


async def test_a_black_hole_keeps_what_it_swallowed_until_it_is_none(nothing_left_behind: None) -> None:
    async with shouting() as target, talking(target) as (relay, talk):
        assert await talk.say(b"one") == b"ONE"
        relay.swallow()
        answer = asyncio.create_task(talk.say(b"two"))
        done, _ = await asyncio.wait([answer], timeout=0.03)
        assert not done
        relay.restore()
        assert await answer == b"TWO"


async def test_a_cut_breaks_connections_and_turns_others_away(nothing_left_behind: None) -> None:
    async with shouting() as target, talking(target) as (relay, talk):
        assert await talk.say(b"one") == b"ONE"
        relay.cut()
        with pytest.raises(ConnectionResetError):
            assert await talk.reader.read() == b""
            raise ConnectionResetError  # some systems end it without saying why
        while relay.connections:
            await asyncio.sleep(0)


@pytest.mark.parametrize("target", [None, Address("127.0.0.1", 9)])
async def test_where_nobody_is_callers_are_turned_away(target: Address | None, nothing_left_behind: None) -> None:
    async with talking(target) as (_, talk):
        try:
            assert await talk.reader.read() == b""
        except ConnectionResetError:
            pass  # which says the same
