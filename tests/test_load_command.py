"""`antiphon load` from its first call to its report, with real processes of callers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from rich.console import Console

from edge_client.audio import write_wav
from edge_client.caller.edge_process import edge_process
from edge_client.load.command import Output, Server
from edge_client.load.program import loaded, read_plan
from tests.edge import running_edge
from tests.scripted import ScriptedBackend, say, tone

BASE: dict[str, Any] = {
    "transport": "websocket",
    "rate": None,
    "concurrent": None,
    "calls": None,
    "duration_sec": None,
    "turns": 1.0,
    "think_sec": 0.1,
    "listening": 0.0,
    "steps": None,
    "relayed": False,
    "seed": 1,
    "session": None,
    "model": None,
}


@pytest.fixture
def question(tmp_path: Path) -> Path:
    write_wav(tmp_path / "q.wav", np.concatenate([tone(0.3), np.zeros(2400, np.float32)]), 24_000)
    return tmp_path / "q.wav"


async def load(
    url: str, question: Path, json_file: Path, *, is_soak: bool = False, pid: int | None = None, **fields: Any
) -> bool:
    output = Output(console=Console(quiet=True), json_file=json_file)
    return await loaded(
        read_plan(url=url, **{**BASE, **fields}),
        Server(pid=pid),
        output,
        wav=[question],
        text=None,
        is_soak=is_soak,
        processes=1,
    )


async def told(file: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(await asyncio.to_thread(file.read_text))
    return report


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("transport", ["webrtc", "websocket"])
async def test_calls_come_are_measured_and_are_told_of(
    transport: str, question: Path, tmp_path: Path, nothing_left_behind: None
) -> None:
    async with running_edge(ScriptedBackend(say("hello", seconds=0.4))) as edge:
        clean = await load(edge.url, question, tmp_path / "r.json", transport=transport, rate=600.0, calls=3)
        assert edge.edge.sessions == 0
    report = await told(tmp_path / "r.json")
    assert clean
    assert (report["summary"]["calls"], report["summary"]["failed"], report["summary"]["missed"]) == (3, 0, 0)
    assert report["summary"]["v2v_ms"]["p50"] > 0
    assert report["samples"]
    assert {call["fault"] for call in report["calls"]} == {None}


@pytest.mark.hostile
@pytest.mark.calm
@pytest.mark.models
@pytest.mark.timeout(180)
async def test_a_soak_that_leaks_nothing_says_so(question: Path, tmp_path: Path) -> None:
    """But for memory, which takes more calls than these to come to rest."""
    async with edge_process(arguments=("--engine", "tone")) as edge:
        fields: dict[str, Any] = {
            "is_soak": True,
            "pid": edge.process.pid,
            "transport": "webrtc",
            "rate": 60.0,
            "calls": 4,
        }
        await load(edge.url, question, tmp_path / "r.json", **fields)
    found = {finding["figure"]: finding for finding in (await told(tmp_path / "r.json"))["leaks"]}
    assert {"tasks", "peer_connections", "calls", "sessions", "sockets", "files", "resident_bytes"} <= set(found)
    assert [name for name in found if found[name]["leaked"] and name not in {"threads", "resident_bytes"}] == []


@pytest.mark.hostile
@pytest.mark.models
@pytest.mark.timeout(120)
async def test_a_server_that_is_killed_in_the_middle_ends_no_report(question: Path, tmp_path: Path) -> None:
    async with edge_process(arguments=("--engine", "tone")) as edge:
        loading = asyncio.create_task(
            load(edge.url, question, tmp_path / "r.json", concurrent=3, duration_sec=8.0, turns=20.0)
        )
        while await _sessions(edge.url) < 3:
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        edge.process.kill()
        assert not await loading
    report = await told(tmp_path / "r.json")
    assert report["summary"]["missed"] > 0
    faults = {call["fault"] for call in report["calls"]}
    assert "cut off" in faults
    assert faults <= {"cut off", "unreachable"}  # those who called again found nobody


async def _sessions(url: str) -> int:
    async with httpx.AsyncClient() as client:
        return int((await client.get(f"{url}/healthz")).json()["sessions"])


@pytest.mark.hostile
@pytest.mark.timeout(120)
async def test_ctrl_c_hangs_up_and_reports_what_there_is(question: Path, tmp_path: Path) -> None:
    async with (
        running_edge(ScriptedBackend(say("hello", seconds=0.4))) as edge,
        _program(edge.url, question=question) as program,
    ):
        while not edge.edge.sessions:
            await asyncio.sleep(0.05)
        await asyncio.sleep(3)
        program.send_signal(signal.SIGINT)
        output, _ = await program.communicate()
        while edge.edge.sessions:
            await asyncio.sleep(0.05)
    assert program.returncode not in (0, None)
    assert b"turns:" in output


@pytest.mark.slow
@pytest.mark.models
@pytest.mark.timeout(120)
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="there is no /proc")
async def test_the_edge_that_was_started_for_it_ends_with_it(question: Path) -> None:
    async with _program("--edge", "tone", question=question) as program:
        assert program.stdout
        while b"calls in progress" not in (line := await program.stdout.readline()):
            assert line, "it ended before it called"
        children = await asyncio.to_thread(_children_of, program.pid)
        program.terminate()
        await program.communicate()
    assert program.returncode == 128 + signal.SIGTERM
    assert children
    assert not [child for child in children if _is_there(child)]


def _children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@asynccontextmanager
async def _program(*server: str, question: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    words = (
        "load",
        *server,
        "--transport",
        "websocket",
        "--concurrent",
        "2",
        "--duration",
        "60",
        "--wav",
        str(question),
    )
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edge_client.cli", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield program
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()


@pytest.mark.hostile
@pytest.mark.timeout(240)
async def test_steps_are_held_one_after_the_other(question: Path, tmp_path: Path, nothing_left_behind: None) -> None:
    async with running_edge(ScriptedBackend(say("hello", seconds=0.4))) as edge:
        await load(edge.url, question, tmp_path / "r.json", steps="1,2", duration_sec=4.0)
    steps = (await told(tmp_path / "r.json"))["steps"]
    assert [(step["calls"], step["listening"]) for step in steps] == [(1, True), (2, True), (1, False), (2, False)]
    assert [step["summary"]["calls"] for step in steps] == [1, 2, 1, 2]
    assert all(step["costs"]["sessions"] == step["calls"] for step in steps)
