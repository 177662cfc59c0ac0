"""Requests that reach another worker than the one they are about; real calls, real private sockets."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import httpx
import pytest

from edge_client.realtime import half_open
from edge_client.settings import EdgeSettings
from edge_client.workers.crew import named_worker
from tests.crew import Workplace, running_crew, running_worker, workplace
from tests.edge import RunningEdge
from tests.peers import Caller

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]  # real peers, in real time

ORIGIN = "http://localhost:3000"


@pytest.fixture
def place() -> Iterator[Workplace]:
    with workplace(2) as place:
        yield place


async def offer(edge: RunningEdge, caller: Caller, **headers: str) -> httpx.Response:
    return await request(
        edge,
        "POST",
        "/v1/realtime/calls",
        content=await caller.offer(),
        headers={"Content-Type": "application/sdp", **headers},
    )


async def request(edge: RunningEdge, method: str, path: str, **options: object) -> httpx.Response:
    async with httpx.AsyncClient(base_url=edge.url) as client:
        return await client.request(method, path, **options)  # type: ignore[arg-type]


def owner(answer: httpx.Response) -> int | None:
    assert answer.status_code == 201, answer.text
    return named_worker(answer.headers["Location"].rpartition("/")[2])


async def test_calls_are_spread_however_they_come(nothing_left_behind: None, place: Workplace) -> None:
    async with running_crew(place, workers=2) as edges, Caller() as one, Caller() as two, Caller() as three:
        owners = [owner(await offer(edges[0], caller)) for caller in (one, two, three)]
        assert owners == [0, 1, 0]
        assert [edge.edge.sessions for edge in edges] == [2, 1]
        assert (await request(edges[1], "GET", "/healthz")).json() == {"status": "ok", "sessions": 3}


async def test_a_call_answered_by_another_worker_is_a_call_like_any(place: Workplace) -> None:
    async with running_crew(place, workers=2) as edges, Caller() as first, Caller() as caller:
        await offer(edges[0], first)
        answer = await offer(edges[0], caller, Origin=ORIGIN)
        assert owner(answer) == 1
        assert answer.headers["Content-Type"] == "application/sdp"
        assert answer.headers.get_list("Access-Control-Allow-Origin") == [ORIGIN]
        assert named_worker(answer.headers["Antiphon-Resume"]) == 1
        await caller.accept(answer.text)
        await caller.connected()
        await caller.event("session.created")


async def test_a_form_is_passed_on_whole(place: Workplace) -> None:
    session = {"type": "realtime", "instructions": "Be brief."}
    async with running_crew(place, workers=2) as edges, Caller() as first, Caller() as caller:
        await offer(edges[0], first)
        form = {"sdp": (None, await caller.offer(), "application/sdp"), "session": (None, json.dumps(session))}
        answer = await request(edges[0], "POST", "/v1/realtime/calls", files=form)
        assert owner(answer) == 1
        await caller.accept(answer.text)
        assert (await caller.event("session.created"))["session"]["instructions"] == "Be brief."


@pytest.mark.parametrize(("method", "suffix"), [("POST", "/hangup"), ("DELETE", "")])
async def test_a_call_is_hung_up_at_any_worker(place: Workplace, method: str, suffix: str) -> None:
    async with running_crew(place, workers=2) as edges, Caller() as caller:
        answer = await offer(edges[0], caller)
        await caller.accept(answer.text)
        await caller.connected()
        path = answer.headers["Location"] + suffix
        assert (await request(edges[1], method, path)).status_code == 200
        await caller.until(lambda: caller.connection.connectionState == "closed")
        unknown = await request(edges[1], method, path)
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "call_not_found")


async def test_a_call_is_resumed_at_any_worker(place: Workplace) -> None:
    async with running_crew(place, workers=2) as edges, Caller() as cut, Caller() as back:
        begun = await offer(edges[0], cut)
        await cut.accept(begun.text)
        last = (await cut.event("session.created"))["event_id"]
        token = begun.headers["Antiphon-Resume"]
        headers = {"Antiphon-Resume": token, "Antiphon-Last-Event": last}
        resumed = await offer(edges[1], back, **headers)
        assert resumed.status_code == 201
        assert resumed.headers["Location"] == begun.headers["Location"]
        await back.accept(resumed.text)
        await back.connected()
        assert [edge.edge.sessions for edge in edges] == [1, 0]


async def test_only_when_all_are_full_a_caller_is_told_so(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(half_open, "CONNECTING_SEC", 60.0)  # nobody here picks up, and nobody is to give way for that
    async with (
        running_crew(place, workers=2, maximum_sessions=3) as edges,
        Caller() as one,
        Caller() as two,
        Caller() as three,
        Caller() as four,
    ):
        assert [owner(await offer(edges[1], caller)) for caller in (one, two, three)] == [0, 1, 0]
        for edge in edges:
            refused = await offer(edge, four)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "at_capacity")
            assert refused.headers["Retry-After"] == "5"


async def test_a_worker_that_took_its_calls_along_is_not_asked(place: Workplace) -> None:
    whole = EdgeSettings(workers=2)
    async with running_worker(place, whole, number=0) as edge, Caller() as one, Caller() as two, Caller() as three:
        async with running_worker(place, whole, number=1) as dying:
            answer = await offer(dying, one)
            assert owner(answer) == 1
        lost = await request(edge, "DELETE", answer.headers["Location"])
        assert (lost.status_code, lost.json()["error"]["code"]) == (404, "call_not_found")
        gone = await offer(edge, two, **{"Antiphon-Resume": answer.headers["Antiphon-Resume"]})
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "call_not_found")
        assert owner(await offer(edge, three)) == 0  # the board still says that the other one has all its places


async def test_what_is_too_large_is_refused_before_it_is_passed_on(place: Workplace) -> None:
    async with running_crew(place, workers=2) as edges, Caller() as first:
        await offer(edges[0], first)
        body = "v" * 100_000
        refused = await request(
            edges[0], "POST", "/v1/realtime/calls", content=body, headers={"Content-Type": "application/sdp"}
        )
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "body_too_large")


async def test_secrets_of_one_worker_open_all(place: Workplace) -> None:
    keys = {"Authorization": "Bearer operator"}
    async with running_crew(place, workers=2, api_keys=("operator",)) as edges, Caller() as one, Caller() as two:
        owners = []
        for edge, caller in zip(edges, (one, two), strict=True):
            made = await request(edges[0], "POST", "/v1/realtime/client_secrets", json={}, headers=keys)
            assert made.json()["expires_at"] > time.time()
            owners.append(owner(await offer(edge, caller, Authorization=f"Bearer {made.json()['value']}")))
        assert owners == [0, 1]


async def test_statistics_are_those_of_all_workers(place: Workplace) -> None:
    keys = {"Authorization": "Bearer operator"}
    async with running_crew(place, workers=2, api_keys=("operator",)) as edges, Caller() as one, Caller() as two:
        for caller in (one, two):
            answer = await offer(edges[0], caller, **keys)
            await caller.accept(answer.text)
            await caller.connected()
        told = (await request(edges[1], "GET", "/v1/statistics", headers=keys)).json()
        refused = await request(edges[1], "GET", "/v1/statistics")
    assert refused.status_code == 401
    assert (told["sessions"], told["places"], told["silent_workers"]) == (2, 16, [])
    assert told["media"]["connections"] == 2
    assert [(each["worker"], each["sessions"], each["places"]) for each in told["workers"]] == [(0, 1, 8), (1, 1, 8)]
    assert all(each["media"]["playout"]["packets"] >= 0 for each in told["workers"])
    assert told["loop_lag_ms"]["max"] >= told["loop_lag_ms"]["p50"] >= 0


async def test_a_worker_that_does_not_answer_is_named(place: Workplace) -> None:
    async with running_worker(place, EdgeSettings(workers=2), number=0) as edge:
        told = (await request(edge, "GET", "/v1/statistics")).json()
    assert told["silent_workers"] == [1]
    assert [each["worker"] for each in told["workers"]] == [0]
