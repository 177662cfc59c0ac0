"""Servers in processes of their own: found when they are ready, weighed, and stopped."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from routing.errors import BackendUnavailable
from tests.server_process import server_process

WORKER = """
import sys
sum(range(5_000_000))
print("ready at http://127.0.0.1:1/offer", flush=True)
sys.stdin.read()  # ends with its parent
"""
PARENT = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-c", {WORKER!r}], stdin=subprocess.PIPE).wait()
"""


async def processor_sec(*command: str) -> float:
    async with server_process(command, os.environ) as server:
        assert server.url == "http://127.0.0.1:1/offer"
        return await asyncio.to_thread(server.processor_sec)


async def test_a_server_is_weighed_with_its_children() -> None:
    idle = "import time; print('ready at http://127.0.0.1:1/offer', flush=True); time.sleep(60)"
    alone = await processor_sec(sys.executable, "-c", idle)
    assert await processor_sec(sys.executable, "-c", PARENT) > alone


async def test_a_server_is_stopped() -> None:
    async with server_process((sys.executable, "-c", PARENT), os.environ) as server:
        os.kill(server.pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


async def test_a_server_that_ends_says_why() -> None:
    with pytest.raises(BackendUnavailable, match="no such stack"):
        async with server_process((sys.executable, "-c", "raise SystemExit('no such stack')"), os.environ):
            pass
