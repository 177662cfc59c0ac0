"""What only an Antiphon is asked: the time, how a turn was, and which trace it belongs to. Over a real WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from routing.telemetry import names
from routing.telemetry.program import Telemetry, open_telemetry
from routing.telemetry.settings import TelemetrySettings
from tests.edge import running_edge
from tests.scripted import ScriptedBackend, say
from tests.test_realtime_socket import Client, connected

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
async def telemetry() -> AsyncIterator[Telemetry]:
    async with open_telemetry(TelemetrySettings(), service=names.EDGE) as telemetry:
        yield telemetry


@asynccontextmanager
async def calling(telemetry: Telemetry | None) -> AsyncIterator[Client]:
    backend = ScriptedBackend(say("typed back"))
    async with running_edge(backend, traced=telemetry) as edge, connected(edge, output_modalities=["text"]) as client:
        yield client


async def pinged(client: Client, client_ms: float) -> dict[str, Any]:
    await client.send("antiphon.clock.ping", client_ms=client_ms)
    return await client.event("antiphon.clock.pong")


async def turn_of(client: Client) -> dict[str, Any]:
    done = await client.event("response.done")
    turn: dict[str, Any] = done["antiphon"]["turn"]
    return turn


async def test_the_time_is_that_of_the_spans_and_goes_on_evenly(telemetry: Telemetry) -> None:
    async with calling(telemetry) as client:
        pongs = [await pinged(client, client_ms) for client_ms in (0, -1.5, 1_790_000_000_000.125)]
        await client.type("hello")
        turn = await turn_of(client)
        later = await pinged(client, 1)
    assert [pong["client_ms"] for pong in pongs] == [0, -1.5, 1_790_000_000_000.125]
    (root,) = [span for span in telemetry.book.trace(turn["trace_id"]) if span.name == names.TURN]
    times = [pong["server_ms"] for pong in pongs] + [root.begin_ns / 1e6, later["server_ms"]]
    assert times == sorted(times)


async def test_a_turn_belongs_to_the_trace_that_asked_for_it_and_is_reported_once(telemetry: Telemetry) -> None:
    async with calling(telemetry) as client:
        now_ms = (await pinged(client, 0))["server_ms"]
        content = [{"type": "input_text", "text": "hello"}]
        await client.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        await client.send("response.create", traceparent=PARENT, tracestate="one=a")
        turn = await turn_of(client)
        report = {"turn_id": turn["turn_id"], "heard_ms": now_ms + 5, "clock": {"offset_ms": 0, "uncertainty_ms": 1}}
        await client.send("antiphon.turn.report", **report)
        traced = await client.event("antiphon.turn.traced")
        await client.send("antiphon.turn.report", event_id="again", **report)
        refused = (await client.event("error"))["error"]
        await client.type("hello again")
        after = await turn_of(client)
    assert turn["trace_id"] == traced["trace_id"] == TRACE
    assert traced["turn_id"] == turn["turn_id"]
    (root,) = [span for span in traced["spans"] if span["name"] == names.TURN]
    assert (root["parent_id"], root["service"]) == ("b7ad6b7169203331", names.EDGE)
    assert root["attributes"][names.TURN_ID] == turn["turn_id"]
    children = [span for span in traced["spans"] if span is not root]
    assert children
    assert all(root["begin_ms"] <= span["begin_ms"] for span in children)
    assert (refused["code"], refused["event_id"], refused["param"]) == ("turn_not_found", "again", "turn_id")
    assert after["trace_id"] not in (None, TRACE)


async def test_what_is_malformed_is_refused_and_not_acted_on(telemetry: Telemetry) -> None:
    async with calling(telemetry) as client:
        await client.send("response.create", event_id="one", traceparent="00-zero-zero-01")
        malformed = (await client.event("error"))["error"]
        await client.send("antiphon.turn.report", event_id="two", turn_id="turn_of_others")
        unknown = (await client.event("error"))["error"]
        await client.send("antiphon.turn.report", event_id="three", turn_id="t", heard_ms=12)
        ancient = (await client.event("error"))["error"]
        await client.type("hello")
        await turn_of(client)
    assert (malformed["param"], malformed["event_id"]) == ("traceparent", "one")
    assert (unknown["code"], unknown["event_id"]) == ("turn_not_found", "two")
    assert (ancient["param"], ancient["event_id"]) == ("heard_ms", "three")
    assert len(await client.events_of("response.created", 1)) == 1


async def test_without_telemetry_there_is_a_time_and_no_trace() -> None:
    async with calling(None) as client:
        first, second = await pinged(client, 1), await pinged(client, 2)
        await client.type("hello")
        turn = await turn_of(client)
    assert first["server_ms"] <= second["server_ms"]
    assert turn["trace_id"] is None
