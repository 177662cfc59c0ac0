"""The guards themselves: what they let pass and what they catch."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest
from blockbuster import BlockingError

from tests.conftest import Resources, resources, settled


async def test_a_blocking_call_in_the_event_loop_is_an_error() -> None:
    with pytest.raises(BlockingError):
        time.sleep(0.001)  # noqa: ASYNC251 - the crime this test is about


async def test_a_blocking_call_on_a_thread_is_none() -> None:
    await asyncio.to_thread(time.sleep, 0.001)


async def test_what_stays_is_named(tmp_path: Path) -> None:
    base = resources()
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait, name="stays")
    task = asyncio.create_task(asyncio.Event().wait(), name="waits")
    thread.start()
    with (tmp_path / "open.txt").open("w"):
        left = resources().beyond(base)
        assert "stays" in str(left.threads)
        assert "waits" in str(left.tasks)
        assert "open.txt" in str(left.descriptors)
    gate.set()
    task.cancel()
    assert not any(await settled(lambda: resources().beyond(base)))


@pytest.mark.usefixtures("nothing_left_behind")
async def test_what_was_there_before_may_stay() -> None:
    reader, writer = await asyncio.open_connection(sock=None, host="127.0.0.1", port=await served_port())
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def served_port() -> int:
    """A server that hangs up on its first caller and then closes."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        server.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    return port


def test_resources_beyond_the_base_line() -> None:
    def only(task: str) -> Resources:
        return Resources(tasks=frozenset([task]), threads=frozenset(), descriptors=frozenset())

    assert not any(only("a").beyond(only("a")))
    assert only("b").beyond(only("a")) == only("b")
