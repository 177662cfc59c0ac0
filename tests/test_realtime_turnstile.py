"""Limits of addresses, keys and half-open calls at an edge that callers reach over HTTP."""

from __future__ import annotations

import gc
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import httpx
import pytest
import websockets
from starlette.types import Message, Receive, Scope, Send
from websockets.asyncio.client import ClientConnection

from edge_client.limits import LimitSettings
from edge_client.realtime import half_open
from edge_client.realtime.addresses import Proxies
from edge_client.realtime.guard import Guard
from edge_client.realtime.turnstile import Turnstile
from edge_client.webrtc import peer
from edge_client.workers.siblings import ADDRESS
from routing.telemetry import names
from routing.telemetry.program import open_telemetry
from routing.telemetry.settings import TelemetrySettings
from tests.edge import RunningEdge, running_edge
from tests.peers import Caller
from tests.test_realtime_calls import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]  # each story has an edge of its own

KEY, OTHER_KEY = "key-one", "key-two"
CALLER, FLOOD = "203.0.113.7", "198.51.100.1"

REFUSED = re.compile(r'^voice_requests_refused_total\{.*reason="(\w+)".*\} (\S+)', re.MULTILINE)


@asynccontextmanager
async def guarded_edge(**settings: Any) -> AsyncIterator[RunningEdge]:
    """One behind a proxy on this machine."""
    known = {"api_keys": (KEY, OTHER_KEY), "trusted_proxies": ("127.0.0.1",)}
    async with running_edge(**{**known, **settings}) as edge:
        yield edge


def headers(*, key: str = KEY, caller: str = CALLER) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", "X-Forwarded-For": caller}


async def ask(edge: RunningEdge, *, key: str = KEY, caller: str = CALLER) -> httpx.Response:
    async with httpx.AsyncClient(base_url=edge.url, verify=False) as client:
        return await client.get("/v1/realtime/ice_servers", headers=headers(key=key, caller=caller))


async def session(edge: RunningEdge, *, key: str = KEY, caller: str = CALLER) -> ClientConnection:
    socket = await websockets.connect(
        edge.socket_url, additional_headers=headers(key=key, caller=caller), proxy=None, user_agent_header=None
    )
    assert json.loads(await socket.recv())["type"] == "session.created"
    return socket


async def offer(edge: RunningEdge, sdp: str, *, caller: str = CALLER) -> httpx.Response:
    async with httpx.AsyncClient(base_url=edge.url, verify=False) as client:
        kind = {"Content-Type": "application/sdp"}
        return await client.post("/v1/realtime/calls", content=sdp, headers=headers(caller=caller) | kind)


async def test_who_asks_too_often_is_told_when_to_come_back() -> None:
    limits = {"requests_per_minute": 1, "requests_at_once": 12}
    async with guarded_edge(limits=limits) as edge:
        asked = [await ask(edge, caller=FLOOD, key=OTHER_KEY) for _ in range(13)]
        other = await ask(edge)
        with pytest.raises(websockets.InvalidStatus) as denied:
            await session(edge, caller=FLOOD)
    assert [answer.status_code for answer in asked] == [200] * 12 + [429]
    refused = asked[-1]
    assert refused.json()["error"]["code"] == denied_code(denied.value) == "rate_limit_exceeded"
    assert 50 <= int(refused.headers["Retry-After"]) <= 60
    assert other.status_code == 200


def denied_code(denied: websockets.InvalidStatus) -> str:
    assert denied.response.status_code == 429
    assert int(denied.response.headers["Retry-After"]) >= 1
    code: str = json.loads(denied.response.body)["error"]["code"]
    return code


async def test_a_key_is_counted_from_wherever_it_is_used() -> None:
    limits = {"requests_per_minute": 1, "requests_at_once": 12}
    async with guarded_edge(limits=limits) as edge:
        asked = [await ask(edge, caller=f"203.0.113.{number}") for number in range(13)]
        other = await ask(edge, key=OTHER_KEY)
    assert [answer.status_code for answer in asked] == [200] * 12 + [429]
    assert other.status_code == 200


async def test_who_has_a_client_secret_cannot_keep_the_others_of_its_operator_out() -> None:
    limits = {"requests_per_minute": 1, "requests_at_once": 12}
    async with guarded_edge(limits=limits) as edge:
        secret, other = [edge.edge.keys.issue({}, now=time.time(), lifetime_sec=60, issuer="key-1") for _ in range(2)]
        asked = [await ask(edge, key=secret.value, caller=f"203.0.113.{number}") for number in range(13)]
        assert (await ask(edge, key=other.value)).status_code == 200
    assert [answer.status_code for answer in asked] == [200] * 12 + [429]


@pytest.mark.parametrize(("server", "address"), [(("127.0.0.1", 8080), None), (("/run/worker", None), CALLER)])
async def test_whoever_is_gone_already_is_not_taken_for_another_worker(
    server: tuple[str, int | None], address: str | None
) -> None:
    """A connection that was reset has no address, as one over a Unix socket has none."""
    seen: list[str] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["state"]["address"])

    async def send(message: Message) -> None:
        assert message.get("status", 400) == 400

    guard = Guard(LimitSettings(), is_open=False)
    turnstile = Turnstile(application, guard=guard, proxies=Proxies(()), on_refused=lambda reason: None)
    headers = [(ADDRESS.lower().encode(), CALLER.encode())]
    scope = {"type": "http", "path": "/v1/statistics", "headers": headers, "client": None, "server": server}
    await turnstile(scope, cast(Receive, None), send)
    assert seen == ([address] if address else [])


async def test_guesses_cost_more_and_do_not_tell_when_one_is_right() -> None:
    limits = {"requests_per_minute": 1, "requests_at_once": 24}
    async with (
        open_telemetry(TelemetrySettings(), service=names.EDGE) as telemetry,
        guarded_edge(traced=telemetry, limits=limits) as edge,
    ):
        guesses = [await ask(edge, key=f"guess-{number}", caller=FLOOD) for number in range(4)]
        right = await ask(edge, caller=FLOOD)
        refusals = await refused(edge)
    assert [answer.status_code for answer in guesses] == [401, 401, 401, 429]
    assert right.status_code == 429
    assert (refusals["wrong_key"], refusals["address_rate"]) == (3, 2)


async def refused(edge: RunningEdge) -> dict[str, float]:
    """How many requests were not let in, by reason, as the edge has counted them."""
    async with httpx.AsyncClient(base_url=edge.url, verify=False) as client:
        scrape = (await client.get("/metrics", headers=headers())).text
    return {reason: float(count) for reason, count in REFUSED.findall(scrape)}


async def test_sessions_of_an_address_and_of_a_key_are_few() -> None:
    async with (
        guarded_edge(limits={"sessions_per_address": 1, "sessions_per_key": 2}) as edge,
        AsyncExitStack() as stack,
    ):
        first = await session(edge)
        with pytest.raises(websockets.InvalidStatus) as refused:
            await session(edge)
        assert denied_code(refused.value) == "rate_limit_exceeded"
        second = await session(edge, caller=FLOOD)
        stack.push_async_callback(second.close)
        with pytest.raises(websockets.InvalidStatus):
            await session(edge, caller="192.0.2.1")
        stack.push_async_callback((await session(edge, caller="192.0.2.1", key=OTHER_KEY)).close)
        await first.close()
        await until(lambda: edge.edge.sessions == 2)
        stack.push_async_callback((await session(edge)).close)


async def test_development_mode_counts_nobody() -> None:
    limits = {"requests_per_minute": 1, "requests_at_once": 1, "sessions_per_address": 1}
    async with running_edge(limits=limits) as edge, httpx.AsyncClient(base_url=edge.url, verify=False) as client:
        answers = [await client.get("/v1/realtime/ice_servers") for _ in range(20)]
    assert {answer.status_code for answer in answers} == {200}


async def test_calls_that_nobody_picks_up_do_not_keep_a_caller_out(
    nothing_left_behind: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(half_open, "CONNECTING_SEC", 60.0)  # who gives way does so as one of a crowd, not for its age
    async with (
        guarded_edge(maximum_sessions=4, limits={"connecting_per_address": 4}) as edge,
        AsyncExitStack() as stack,
    ):
        dead = [await stack.enter_async_context(Caller()) for _ in range(5)]
        flooded = [await offer(edge, await each.offer(), caller=FLOOD) for each in dead]
        assert [answer.status_code for answer in flooded] == [201, 201, 201, 201, 429]
        assert edge.edge.sessions == 4
        caller = await stack.enter_async_context(Caller())
        answer = await offer(edge, await caller.offer())
        assert answer.status_code == 201
        await caller.accept(answer.text)
        await caller.opened()
        assert edge.edge.sessions == 4
        again = await stack.enter_async_context(Caller())
        assert (await offer(edge, await again.offer(), caller=FLOOD)).status_code == 503  # nobody gives way to it
        assert len(edge.edge.half_open) == 3
        assert caller.connection.connectionState == "connected"


async def test_a_call_that_never_came_about_is_forgotten(nothing_left_behind: None) -> None:
    async with guarded_edge(peer={"connect_timeout_sec": 0.1}) as edge, Caller() as caller:
        before = set(living())
        assert (await offer(edge, await caller.offer())).status_code == 201
        await until(lambda: edge.edge.sessions == 0)
        await until(lambda: not set(living()) - before)


def living() -> list[int]:
    """The connections of the edge that are in memory."""
    gc.collect()
    return [id(connection) for connection in peer._living]
