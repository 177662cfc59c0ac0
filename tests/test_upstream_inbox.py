"""Whoever writes waits for room, and whoever reads for messages."""

from __future__ import annotations

import asyncio

import pytest

from edge_client.upstream.inbox import Inbox
from routing.errors import BackendError, BackendUnavailable
from tests.virtual_time import on_virtual_time


@on_virtual_time
async def test_a_full_inbox_takes_no_more_until_it_is_read_or_widened() -> None:
    inbox = Inbox(limit=4)
    written: list[str] = []

    async def write() -> None:
        for message in ("abc", "def", "ghi", "jkl"):
            await inbox.put(message)
            written.append(message)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        await asyncio.sleep(1)
        assert written == ["abc", "def"]
        assert await inbox.get() == "abc"
        await asyncio.sleep(1)
        assert written == ["abc", "def", "ghi"]
        inbox.widen(100)
        await asyncio.sleep(1)
        assert written[-1] == "jkl"
    assert [await inbox.get() for _ in range(3)] == ["def", "ghi", "jkl"]


@on_virtual_time
async def test_what_came_before_the_end_is_read_first() -> None:
    inbox = Inbox(limit=10)
    await inbox.put("last words")
    inbox.end(BackendUnavailable("gone"))
    inbox.end(BackendError("gone for another reason"))
    assert await inbox.get() == "last words"
    with pytest.raises(BackendUnavailable, match="gone"):
        await inbox.get()


@on_virtual_time
async def test_a_waiting_reader_hears_of_the_end() -> None:
    inbox = Inbox(limit=10)
    asyncio.get_running_loop().call_later(5, inbox.end, BackendError("gone"))
    with pytest.raises(BackendError, match="gone"):
        await inbox.get()
