"""Several workers behind one port: the program itself, with everything that can befall it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from edge_client.caller.edge_process import READY
from edge_client.workers.board import FRESH_SEC
from edge_client.workers.crew import named_worker
from edge_client.workers.supervisor import FIRST_WAIT_SEC, LONGEST_WAIT_SEC, WELL_SEC, BackOff
from tests.peers import Caller

real = [pytest.mark.models, pytest.mark.slow, pytest.mark.timeout(240)]
PATIENCE_SEC = 60.0  # for processes that start or end on a busy machine


def test_who_dies_young_waits_longer_each_time() -> None:
    back_off = BackOff()
    waits = [back_off.wait_sec(1.0) for _ in range(9)]
    assert waits[:4] == [FIRST_WAIT_SEC, 2 * FIRST_WAIT_SEC, 4 * FIRST_WAIT_SEC, 8 * FIRST_WAIT_SEC]
    assert waits[-1] == LONGEST_WAIT_SEC
    assert back_off.wait_sec(WELL_SEC) == FIRST_WAIT_SEC


# -- the program -----------------------------------------------------------------------------------------------------


class Program:
    """`antiphon edge` with two workers, its output, and what it has on this machine."""

    def __init__(self, process: asyncio.subprocess.Process, temporary: Path) -> None:
        self.process = process
        self.temporary = temporary
        self.lines: list[str] = []
        self.url = ""
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout
        async for line in self.process.stdout:
            self.lines.append(line.decode().rstrip())
            self._news.set()

    async def line(self, pattern: str) -> re.Match[str]:
        """The first line that this is found in."""
        async with asyncio.timeout(PATIENCE_SEC):
            while not (found := next(filter(None, (re.search(pattern, line) for line in self.lines)), None)):
                assert not self._reading.done(), self.lines
                self._news.clear()
                await self._news.wait()
        return found

    async def ended(self) -> int:
        """The exit code, once all who write to the output have ended: the workers too."""
        async with asyncio.timeout(PATIENCE_SEC):
            await self._reading
            return await self.process.wait()

    async def workers(self) -> list[int]:
        """Process ids, in the order of the workers' numbers."""
        return await asyncio.to_thread(children, self.process.pid)

    async def left(self) -> list[str]:
        """What is in the folder for temporary files."""
        return await asyncio.to_thread(lambda: [path.name for path in self.temporary.iterdir()])

    async def close(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.ended()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0")


@asynccontextmanager
async def program(temporary: Path, *arguments: str, **environment: str) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edge_client.cli", "edge", "--port", "0", "--workers", "2", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(temporary), **environment},
    )
    running = Program(process, temporary)
    try:
        yield running
    finally:
        await running.close()


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Its name is short: that of a private socket must fit in a hundred characters."""
    with tempfile.TemporaryDirectory(prefix="a-") as folder:
        yield Path(folder)


@asynccontextmanager
async def edge(temporary: Path, **environment: str) -> AsyncIterator[Program]:
    """Two workers that take callers."""
    async with program(temporary, "--engine", "tone", **environment) as running:
        running.url = (await running.line(rf"{READY} (\S+)"))[1]
        yield running


async def ask(running: Program, method: str, path: str, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=running.url, timeout=20) as client:
        return await client.request(method, path, **options)


async def call(running: Program, caller: Caller) -> httpx.Response:
    """A call, connected."""
    offer = await caller.offer()
    answer = await ask(
        running, "POST", "/v1/realtime/calls", content=offer, headers={"Content-Type": "application/sdp"}
    )
    assert answer.status_code == 201, answer.text
    await caller.accept(answer.text)
    await caller.event("session.created")
    return answer


async def hung_up(caller: Caller) -> None:
    await caller.until(lambda: caller.connection.connectionState == "closed")


def owner(answer: httpx.Response) -> int:
    worker = named_worker(answer.headers["Location"].rpartition("/")[2])
    assert worker is not None
    return worker


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(PATIENCE_SEC):
        while not await condition():
            await asyncio.sleep(0.05)


async def is_idle(running: Program) -> bool:
    told = (await ask(running, "GET", "/healthz")).json()
    assert told["status"] == "ok"
    return bool(told["sessions"] == 0)


async def none_alive(pids: list[int]) -> bool:
    return not any(await asyncio.to_thread(lambda: list(map(alive, pids))))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class TestRunning:
    pytestmark = real

    async def test_both_workers_take_calls_and_each_is_found_again(
        self, nothing_left_behind: None, temporary: Path
    ) -> None:
        async with edge(temporary) as running, Caller() as one, Caller() as two:
            answers = [await call(running, one), await call(running, two)]
            assert {owner(answer) for answer in answers} == {0, 1}
            for answer in answers:  # whichever worker is asked
                assert (await ask(running, "DELETE", answer.headers["Location"])).status_code == 200
            for caller in (one, two):
                await hung_up(caller)
            await until(lambda: is_idle(running))  # a caller knows of the end before its place is free
            assert sum("models)" in line for line in running.lines) == 1
            assert "2 of 2 workers are ready" in running.lines
            assert sum(READY in line for line in running.lines) == 1

    async def test_sockets_are_spread_and_all_places_are_used(self, temporary: Path) -> None:
        async with edge(temporary, ANTIPHON_MAXIMUM_SESSIONS="4") as running, AsyncExitStack() as stack:
            url = running.url.replace("http", "ws", 1) + "/v1/realtime"
            for _ in range(4):
                connection = await stack.enter_async_context(websockets.connect(url, proxy=None))
                assert "session.created" in str(await connection.recv())
            told = (await ask(running, "GET", "/v1/statistics")).json()
            assert [worker["sessions"] for worker in told["workers"]] == [2, 2]
            with pytest.raises(websockets.InvalidStatus) as refused:
                await websockets.connect(url, proxy=None)
            assert refused.value.response.status_code == 503

    async def test_workers_that_die_or_stand_still_are_replaced(self, temporary: Path) -> None:
        """In two programs side by side: to give up one that stands still takes a while."""
        async with asyncio.TaskGroup() as stories:
            stories.create_task(self.stand_still(temporary))
            stories.create_task(self.die_beside_a_call(temporary))

    async def die_beside_a_call(self, temporary: Path) -> None:
        """The calls of the other worker live on."""
        async with edge(temporary) as running, Caller() as one, Caller() as two:
            by_owner = {owner(await call(running, caller)): caller for caller in (one, two)}
            os.kill((await running.workers())[1], signal.SIGKILL)
            await running.line(r"ERROR .*worker 1 was ended by SIGKILL; another one is started in 0.5 s")
            by_owner[0].send({"type": "session.update", "session": {"type": "realtime"}})
            await by_owner[0].event("session.updated")
            await running.line(r"WARNING .*worker 1 is back")
            by_owner[0].send({"type": "session.update", "session": {"type": "realtime"}})
            await by_owner[0].event("session.updated")
            async with Caller() as three:
                assert owner(await call(running, three)) == 1

    async def stand_still(self, temporary: Path) -> None:
        async with edge(temporary) as running, Caller() as one, Caller() as two:
            stuck = (await running.workers())[1]
            os.kill(stuck, signal.SIGSTOP)
            await asyncio.sleep(FRESH_SEC)
            assert [owner(await call(running, caller)) for caller in (one, two)] == [0, 0]
            await running.line(r"ERROR .*worker 1 has given no sign of life")
            await running.line(r"WARNING .*worker 1 is back")
            assert await none_alive([stuck])

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_a_signal_stops_all_and_leaves_nothing(self, temporary: Path, number: signal.Signals) -> None:
        async with edge(temporary) as running, Caller() as caller:
            await call(running, caller)
            workers = await running.workers()
            for worker in workers:  # keys and all else came another way
                assert (await asyncio.to_thread(command_line, worker)).endswith(b"edge_client.realtime.worker")
            assert [name[:9] for name in await running.left()] == ["antiphon-"]
            running.process.send_signal(number)
            code = await running.ended()
            await hung_up(caller)
            assert code == {signal.SIGTERM: -signal.SIGTERM, signal.SIGINT: 130}[number]
            assert await none_alive(workers)
            assert not await running.left()
            assert not any("Traceback" in line for line in running.lines)

    async def test_workers_of_a_killed_supervisor_end_and_leave_nothing(self, temporary: Path) -> None:
        async with edge(temporary) as running:
            workers = await running.workers()
            running.process.kill()
            assert await running.ended() == -signal.SIGKILL
            await until(lambda: none_alive(workers))
            assert not await running.left()

    async def test_it_is_stopped_while_it_starts(self, temporary: Path) -> None:
        async with program(temporary, "--engine", "tone") as running:
            await until(running.workers)
            running.process.terminate()
            assert await running.ended() == -signal.SIGTERM
            assert not await running.left()
            assert not any(READY in line for line in running.lines)

    async def test_an_edge_that_was_faster_is_told_of(self, temporary: Path) -> None:
        with socket.socket() as faster:
            faster.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            faster.bind(("127.0.0.1", 0))
            port = faster.getsockname()[1]
            async with program(temporary, "--engine", "tone", "--port", str(port)) as running:
                await until(running.workers)  # it has the address as well, and does not listen yet
                faster.listen()
                assert await running.ended() == 1
                assert any("cannot listen on 127.0.0.1" in line for line in running.lines)
                assert not await running.left()


@pytest.mark.slow
@pytest.mark.timeout(90)
async def test_what_keeps_the_workers_from_starting_is_said_once(temporary: Path) -> None:
    async with program(temporary, ANTIPHON_MODELS=str(temporary / "none")) as running:
        assert await running.ended() == 1
        faults = [line for line in running.lines if line.startswith("antiphon: ")]
        assert len(faults) == 1
        assert "models pull" in faults[0]
        assert not any("Traceback" in line for line in running.lines)
