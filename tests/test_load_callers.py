"""Processes of callers that come to a bad end, and one that is told to end by others than who wanted its calls."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from edge_client.load.callers import Callers
from edge_client.load.callers_process import WAITING, Task
from edge_client.load.news import CallEnded, News
from edge_client.load.plan import LoadPlan
from edge_client.signals import ending_signals
from routing.errors import BackendUnavailable

LAST_WORDS = """
import sys
sys.stdin.read()
print('{"kind": "CallEnded", "call": 1, "at_sec": 2.0, "broken_off": true}')
"""


@asynccontextmanager
async def python(*arguments: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=PIPE, stdout=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_where_one_process_has_died_the_others_hang_up_in_order() -> None:
    heard: list[News] = []
    async with python("-SEc", "raise SystemExit(3)") as dead, python("-SEc", LAST_WORDS) as other:
        callers = Callers([dead, other], heard.append)
        with pytest.raises(BackendUnavailable, match="ended with the code 3"):
            await callers.run()
        with pytest.raises(BackendUnavailable, match="ended with the code 3"):
            await callers.hang_up()
    assert heard == [CallEnded(call=1, at_sec=2.0, broken_off=True)]


@pytest.mark.slow
async def test_a_signal_to_the_whole_group_is_left_to_who_wanted_the_calls() -> None:
    task = Task(process=0, plan=LoadPlan(url="http://x", concurrent=1, calls=1), key=None, seats=[], questions=[])
    async with python("-m", "edge_client.load.callers_process") as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(task.written().encode() + b"\n")
        assert await process.stdout.readline() == f"{WAITING}\n".encode()
        for number in ending_signals():
            process.send_signal(number)
        process.stdin.write(b"0.0\n")
        await process.communicate()
        assert process.returncode == 0
