"""Spoilt offers and spoilt events as they come to a running edge, over HTTP and over a WebSocket."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from edge_client.caller.edge_process import EdgeProcess, edge_process
from tests.mutations import spoilt_event, spoilt_offer
from tests.test_webrtc_peer import CHROMIUM_OFFER

pytestmark = [pytest.mark.hostile, pytest.mark.models, pytest.mark.timeout(240)]

OFFERS, EVENTS = 400, 2000
LONGEST_SEC = 10.0  # by the clock, and so with all else that the machine does
SETTINGS = {
    "ANTIPHON_TELEMETRY__FILE": "",
    "ANTIPHON_PEER__CONNECT_TIMEOUT_SEC": "1",
    "ANTIPHON_LIMITS__EVENTS_PER_SEC": "0",
    "ANTIPHON_MAXIMUM_SESSIONS": "400",  # none of the offers comes about: all shall be read
}


@pytest.fixture
async def edge() -> AsyncIterator[EdgeProcess]:
    async with edge_process(arguments=("--engine", "tone"), settings=SETTINGS) as edge:
        yield edge


async def test_spoilt_offers_are_answered_or_refused(edge: EdgeProcess, capsys: pytest.CaptureFixture[str]) -> None:
    ends: Counter[int] = Counter()
    longest_sec = 0.0
    async with httpx.AsyncClient(base_url=edge.url, verify=False, timeout=2 * LONGEST_SEC) as client:
        for seed in range(OFFERS):
            began_at = time.monotonic()
            body = spoilt_offer([CHROMIUM_OFFER], seed).encode(errors="surrogatepass")
            kind = {"Content-Type": "application/sdp"}
            answer = await client.post("/v1/realtime/calls", content=body, headers=kind)
            longest_sec = max(longest_sec, time.monotonic() - began_at)
            ends[answer.status_code] += 1
            assert answer.status_code == 201 or answer.json()["error"]["message"]
        assert (await client.get("/healthz")).status_code == 200
    with capsys.disabled():
        print(f"\n{OFFERS} spoilt offers: {dict(ends)}, the longest took {longest_sec * 1000:.0f} ms")  # noqa: T201
    assert ends.keys() <= {201, 400, 413, 503}
    assert longest_sec < LONGEST_SEC


async def test_spoilt_events_are_taken_or_refused(edge: EdgeProcess, capsys: pytest.CaptureFixture[str]) -> None:
    url = edge.url.replace("http", "ws", 1) + "/v1/realtime"
    told: Counter[str] = Counter()
    waits: list[float] = []
    async with connect(url, proxy=None, max_size=None) as socket:
        for seed in range(EVENTS):
            began_at = time.monotonic()
            await socket.send(spoilt_event(seed).encode(errors="surrogatepass"))
            if seed % 20 == 0:
                await socket.send(json.dumps({"type": "antiphon.clock.ping", "client_ms": float(seed)}))
                told.update([kind async for kind in until_pong(socket, seed)])
                waits.append(time.monotonic() - began_at)
    with capsys.disabled():
        print(f"\n{EVENTS} spoilt events: {told['error']} refused, the longest wait {max(waits) * 1000:.0f} ms")  # noqa: T201
    assert told["error"] > EVENTS / 4
    assert max(waits) < LONGEST_SEC


async def until_pong(socket: ClientConnection, seed: int) -> AsyncIterator[str]:
    """The types of all events up to the answer to this ping."""
    async with asyncio.timeout(2 * LONGEST_SEC):
        while True:
            event = json.loads(await socket.recv())
            yield event["type"]
            if event["type"] == "antiphon.clock.pong" and event["client_ms"] == seed:
                return
