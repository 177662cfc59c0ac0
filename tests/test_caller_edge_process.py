"""An edge in a process of its own."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import websockets

from edge_client.caller.edge_process import edge_process
from routing.errors import BackendUnavailable


@pytest.fixture
def hang_ups_are_heeded() -> Iterator[None]:
    """Whoever runs the tests may not have wished so, as with nohup, and an edge would inherit that."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


async def test_an_edge_that_cannot_start_says_why(tmp_path: Path, nothing_left_behind: None) -> None:
    missing = str(tmp_path / "missing.yaml")
    with pytest.raises(BackendUnavailable, match=r"did not start:(.|\n)*missing\.yaml"):
        async with edge_process(arguments=("--config", missing)):
            raise AssertionError("started without its settings")


@pytest.mark.slow
@pytest.mark.models
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("told", "code"), [((signal.SIGHUP,), -signal.SIGHUP), ((signal.SIGINT, signal.SIGINT), 130)])
async def test_the_last_trace_is_written_however_hastily_an_edge_is_told_to_end(
    told: tuple[signal.Signals, ...], code: int, tmp_path: Path, hang_ups_are_heeded: None, nothing_left_behind: None
) -> None:
    file = tmp_path / "traces.jsonl"
    settings = {"ANTIPHON_TELEMETRY__FILE": str(file), "ANTIPHON_DRAIN_SEC": "60"}  # nobody is there to wait for
    async with edge_process(arguments=("--engine", "tone"), settings=settings) as edge:
        async with httpx.AsyncClient() as client:
            refused = await client.post(
                f"{edge.url}/v1/realtime/calls", content="v=0", headers={"Content-Type": "application/sdp"}
            )
        assert refused.status_code == 400
        for number in told:
            with suppress(ProcessLookupError):  # it may have ended already
                edge.process.send_signal(number)
            await asyncio.sleep(0.02)  # or they come as one
        await edge.ended()
    assert edge.process.returncode == code
    assert "voice.connect" in await asyncio.to_thread(file.read_text)


@pytest.mark.hostile
@pytest.mark.timeout(120)
@pytest.mark.slow
@pytest.mark.models
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_second_signal_ends_an_edge_that_waits_for_its_sessions(
    workers: str, nothing_left_behind: None
) -> None:
    settings = {"ANTIPHON_DRAIN_SEC": "60", "ANTIPHON_WORKERS": workers}
    async with (
        edge_process(arguments=("--engine", "tone"), settings=settings) as edge,
        websockets.connect(edge.url.replace("http", "ws", 1) + "/v1/realtime") as client,
    ):
        await client.recv()
        edge.process.send_signal(signal.SIGTERM)
        told = [json.loads(await client.recv())["type"] for _ in range(2)]
        assert told == ["antiphon.server.draining", "antiphon.session.ticket"]
        assert edge.process.returncode is None
        edge.process.send_signal(signal.SIGTERM)
        await edge.ended()
    assert edge.process.returncode == -signal.SIGTERM
