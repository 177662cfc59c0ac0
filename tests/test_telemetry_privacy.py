"""A secret is said through the whole of Antiphon, and nothing that leaves it in traces, metrics and logs repeats it.

Caller, edge, ingress and replica are processes of their own here, and a turn is one tree over all of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from edge_client.caller.client import Caller
from edge_client.caller.question import synthesised
from edge_client.caller.spoken import Reply
from edge_client.demo.cloud_process import free_port
from edge_client.trace.otlp import spans_of
from routing.telemetry import names
from routing.telemetry.finished_span import FinishedSpan

pytestmark = [pytest.mark.models, pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(480)]

START_SEC = 120.0
STOP_SEC = 60.0
REPLY_SEC = 60.0
PATIENCE_SEC = 60.0  # for what usually takes a second or two
EDGE_KEY, CLOUD_KEY = "edge-key-that-nobody-shall-read", "cloud-key-that-nobody-shall-read"
SECRETS = ("My favourite fruit is the pineapple.", "Please repeat after me: pineapple.")
SAID = re.compile(r"pine.?apple|favou?rite|fruit|repeat after", re.IGNORECASE)
DESCRIPTIONS = re.compile(r"a=candidate|ice-ufrag|ice-pwd|a=fingerprint|v=0\\r|m=audio")
ADDRESSES = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")  # of IP version 4, which is all there is here


@dataclass(frozen=True, slots=True)
class Program:
    """One of ours, with all that it writes in ``log``."""

    process: subprocess.Popen[bytes]
    log: Path

    def address(self, ready: str) -> str:
        """What follows ``ready`` there. Waits for it."""
        deadline = time.monotonic() + START_SEC
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := re.search(rf"{ready} (\S+)", self.log.read_text()):
                return found[1]
            time.sleep(0.1)
        raise AssertionError(f"it did not start:\n{self.log.read_text()}")


@contextmanager
def started(*arguments: str, log: Path, settings: Mapping[str, str] | None = None) -> Iterator[Program]:
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], stdout=output, stderr=output, env=os.environ | (settings or {})
        )
        try:
            yield Program(process, log)
        finally:
            process.terminate()
            process.wait(STOP_SEC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exported")


@pytest.fixture(scope="module")
def edge(folder: Path) -> Iterator[str]:
    """An edge beside a cloud, both with real models, real keys, and all that they can write."""
    config, traces = folder / "serve.yaml", folder / "traces.jsonl"
    config.write_text(
        "applications: [{name: antiphon, import_path: 'deployments.app:app', args:"
        f" {{model: cascade, replicas: {{count: 1}}, ingress: {{keys: [{CLOUD_KEY}]}}}}}}]\n"
    )
    port = str(free_port())
    local = ("deployments.local", "--config", str(config), "--port", port, "--traces", str(traces), "--verbose")
    settings = {
        "ANTIPHON_TELEMETRY__FILE": str(traces),
        "ANTIPHON_RECORDS": str(folder / "placements.jsonl"),
        "ANTIPHON_API_KEYS": EDGE_KEY,
        "ANTIPHON_CLOUD__URL": f"ws://127.0.0.1:{port}",
        "ANTIPHON_CLOUD__KEY": CLOUD_KEY,
        "ANTIPHON_CLOUD__LONGEST_BACK_OFF_SEC": "2",
        "ANTIPHON_ROUTING__POLICY": "cloud",
    }
    run = ("edge_client.cli", "--verbose", "--log-format", "json", "edge", "--port", "0")
    with (
        started(*local, log=folder / "cloud.log") as cloud,
        started(*run, log=folder / "edge.log", settings=settings) as edge,
    ):
        cloud.address("cloud is ready at")
        yield edge.address("Antiphon is ready at")


async def test_what_is_said_and_answered_stays_out_of_everything_that_is_exported(edge: str, folder: Path) -> None:
    replies = await _asked(edge)
    assert any(SAID.search(reply.transcript) for reply in replies), "it was not even understood"
    metrics = await _scraped(edge)
    await _until(lambda: _is_the_whole(folder / "traces.jsonl", replies[0].numbers.trace_id or ""))
    await asyncio.sleep(1.5)  # for whatever else leaves
    exported = await asyncio.to_thread(_exported, folder)
    for name, text in (exported | {"metrics": metrics}).items():
        assert not SAID.search(text), f"{name}: {SAID.search(text)}"
        assert not DESCRIPTIONS.search(text), f"{name}: {DESCRIPTIONS.search(text)}"
        assert not any(key in text for key in (EDGE_KEY, CLOUD_KEY)), name
    logged = "\n".join(line for line in exported["edge.log"].splitlines() if line.startswith("{"))
    for text in (logged, metrics, exported["traces.jsonl"], exported["placements.jsonl"]):
        assert not ADDRESSES.search(text), ADDRESSES.search(text)


async def _asked(url: str) -> list[Reply]:
    questions = await asyncio.to_thread(lambda: list(synthesised(SECRETS)))
    async with Caller.connect(url, key=EDGE_KEY) as caller:
        await _until(lambda: _knows_the_cloud(url))
        replies = []
        for question in questions:
            await caller.say(question.samples)
            replies.append(await caller.reply(REPLY_SEC))
    return replies


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SEC):
        while not await condition():
            await asyncio.sleep(0.1)


async def _knows_the_cloud(edge: str) -> bool:
    cloud = json.loads(await _got(f"{edge}/v1/statistics"))["routing"]["backends"]["cloud"]
    return cloud["why_not"] is None and bool(cloud["round_trip_ms"])  # 0 before anything has come from there


async def _scraped(edge: str) -> str:
    return await _got(f"{edge}/metrics")


async def _got(address: str) -> str:
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {EDGE_KEY}"}) as client:
        answer = await client.get(address)
    assert answer.status_code == 200
    return answer.text


def _exported(folder: Path) -> dict[str, str]:
    files = [path for path in folder.iterdir() if path.suffix in {".jsonl", ".log"}]
    return {path.name: path.read_text() for path in files}


async def _is_the_whole(traces: Path, trace_id: str) -> bool:
    """One tree over four processes; otherwise nothing would be proven by what is not in it."""
    lines = (await asyncio.to_thread(traces.read_bytes)).splitlines(keepends=True)
    written = (line for line in lines if line.endswith(b"\n"))
    spans = [span for line in written for span in spans_of(line) if span.trace_id == trace_id]
    by_id = {span.span_id: span for span in spans}
    ways = {tuple(_way(span, by_id)) for span in spans}
    edge, ingress, replica = (names.EDGE,), (names.INGRESS,), (names.REPLICA,)
    return (
        {each[-1] for each in ways} == {names.EDGE}  # there is one root, and it is the edge's
        and names.CALLER in {each[0] for each in ways if len(each) == 2}
        and replica * 2 + ingress * 2 + edge * 2 in ways  # phase, generation; request, turn; request, turn
    )


def _way(span: FinishedSpan, by_id: Mapping[str, FinishedSpan]) -> Iterator[str]:
    """The services from a span up to the root; at last what is missing, as long as a parent has not been written."""
    yield span.service
    if span.parent_id in by_id:
        yield from _way(by_id[span.parent_id], by_id)
    elif span.parent_id:
        yield "missing"
