"""What credentials open over HTTP and WebSocket: expired, forged, used up, made for something else, and good ones."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from edge_client.realtime.pinning import RESUME
from routing.telemetry import names
from routing.telemetry.logs import RESERVED
from routing.telemetry.program import open_telemetry
from routing.telemetry.settings import TelemetrySettings
from tests.crew import Workplace, running_crew, workplace
from tests.edge import RunningEdge, running_edge, scripted_edge, served
from tests.peers import Caller

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]  # real peers

KEY = "the-operators-own-key"
OPERATOR = {"Authorization": f"Bearer {KEY}"}
TURN = {"urls": "turn:relay.example:3478", "secret": "a secret of the relay"}
FOREIGN = "the-key-of-someone-else"
CALLS, SECRETS = "/v1/realtime/calls", "/v1/realtime/client_secrets"


@dataclass(frozen=True, slots=True)
class Door:
    """An edge with one key, and an offer to hold out to it as often as one likes."""

    edge: RunningEdge
    client: httpx.AsyncClient
    sdp: str = ""

    async def secret(self, *, seconds: int = 60, **session: Any) -> str:
        body = {"expires_after": {"seconds": seconds}, "session": session}
        made = await self.client.post(SECRETS, json=body, headers=OPERATOR)
        assert made.status_code == 200, made.text
        value: str = made.json()["value"]
        return value

    def old_secret(self) -> str:
        return self.edge.edge.keys.issue({}, now=time.time() - 61, lifetime_sec=60).value

    async def call(self, credential: str | None, **more: Any) -> httpx.Response:
        headers = {"Content-Type": "application/sdp", **_bearer(credential)}
        return await self.client.post(CALLS, content=more.get("sdp", self.sdp), headers=headers)

    async def hang_up(self, call: httpx.Response, credential: str) -> int:
        return (await self.client.delete(call.headers["Location"], headers=_bearer(credential))).status_code


def _bearer(credential: str | None) -> dict[str, str]:
    return {} if credential is None else {"Authorization": f"Bearer {credential}"}


@asynccontextmanager
async def door(**settings: Any) -> AsyncIterator[Door]:
    async with (
        running_edge(api_keys=KEY, **settings) as edge,
        httpx.AsyncClient(base_url=edge.url) as client,
        Caller() as caller,
    ):
        yield Door(edge, client, await caller.offer())


@asynccontextmanager
async def socket(door: Door, credential: str) -> AsyncIterator[ClientConnection]:
    async with connect(door.edge.socket_url, additional_headers=_bearer(credential)) as connection:
        assert json.loads(await connection.recv())["type"] == "session.created"
        yield connection


async def socket_refused(door: Door, credential: str | None) -> int:
    with pytest.raises(InvalidStatus) as refusal:
        await connect(door.edge.socket_url, additional_headers=_bearer(credential))
    return refusal.value.response.status_code


# -- what opens nothing ------------------------------------------------------------------------------------------------


async def test_what_is_no_credential_opens_nothing_and_is_never_repeated(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    unlimited = {"requests_per_minute": 0}  # wrong keys would soon be answered with 429
    async with door(limits=unlimited) as ours, running_edge(api_keys=FOREIGN) as theirs:
        good = await ours.secret()
        claims, _, signature = good.partition(".")
        keys = ours.edge.edge.keys
        wrong = {
            "none": None,
            "unknown": FOREIGN,
            "expired": ours.old_secret(),
            "forged": f"{claims}x.{signature}",
            "unsigned": f"{claims}.",
            "of another edge": theirs.edge.keys.issue({}, now=time.time(), lifetime_sec=60).value,
            "sealed": keys.seal(b"{}", purpose="ticket", now=time.time(), lifetime_sec=60),
            "sealed, as a secret": "ek_" + keys.seal(b"{}", purpose="ticket", now=time.time(), lifetime_sec=60),
        }
        for what, credential in wrong.items():
            answers = [
                await ours.call(credential),
                await ours.client.get("/v1/realtime/ice_servers", headers=_bearer(credential)),
                await ours.client.post(SECRETS, json={}, headers=_bearer(credential)),
                await ours.client.get("/v1/statistics", headers=_bearer(credential)),
                await ours.client.get("/metrics", headers=_bearer(credential)),
                await ours.client.delete(f"{CALLS}/rtc_1", headers=_bearer(credential)),
            ]
            assert [answer.status_code for answer in answers] == [401] * 6, what
            assert await socket_refused(ours, credential) == 401, what
            shown = [f"{answer.headers} {answer.text}" for answer in answers] + [logged(caplog)]
            assert not any(credential and credential in text for text in shown), what
        assert ours.edge.edge.sessions == 0


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """What the program would log at most: of the libraries that it uses only warnings."""
    kept = (each for each in caplog.records if each.levelno >= logging.WARNING or not each.name.startswith(RESERVED))
    return "".join(each.getMessage() for each in kept)


async def test_a_relays_credential_is_none_of_the_edge() -> None:
    async with door(peer={"turn": TURN}) as ours:
        told = await ours.client.get("/v1/realtime/ice_servers", headers=OPERATOR)
        assert told.headers["Cache-Control"] == "no-store"
        relay = told.json()["ice_servers"][0]
        for credential in (relay["credential"], relay["username"], TURN["secret"]):
            assert (await ours.call(credential)).status_code == 401
            assert await socket_refused(ours, credential) == 401


async def test_no_credential_is_in_traces_or_metrics(tmp_path: Path) -> None:
    traces = tmp_path / "traces.jsonl"
    async with (
        open_telemetry(TelemetrySettings(file=str(traces)), service=names.EDGE) as telemetry,
        scripted_edge(traced=telemetry, api_keys=KEY) as edge,
        served(edge) as running,
        httpx.AsyncClient(base_url=running.url) as client,
        Caller() as caller,
    ):
        ours = Door(running, client, await caller.offer())
        secret = await ours.secret()
        calls = [await ours.call(credential) for credential in (KEY, secret, secret, FOREIGN)]
        assert [call.status_code for call in calls] == [201, 201, 401, 401]
        for call in calls[:2]:
            assert await ours.hang_up(call, KEY) == 200
        metrics = (await client.get("/metrics", headers=OPERATOR)).text
    written = await asyncio.to_thread(traces.read_text)
    tokens = [call.headers[RESUME] for call in calls[:2]]
    assert names.CONNECT in written
    assert not any(hidden in text for text in (written, metrics) for hidden in (KEY, secret, FOREIGN, *tokens))


# -- what a client secret opens ----------------------------------------------------------------------------------------


async def test_only_the_operators_keys_make_client_secrets_and_see_figures() -> None:
    async with door() as ours:
        secret = _bearer(await ours.secret())
        asked = [
            await ours.client.post(SECRETS, json={}, headers=secret),
            await ours.client.get("/v1/statistics", headers=secret),
            await ours.client.get("/metrics", headers=secret),
        ]
        assert [answer.status_code for answer in asked] == [401] * 3
        assert [answer.headers["WWW-Authenticate"] for answer in asked] == ["Bearer"] * 3
        made = await ours.client.post(SECRETS, json={}, headers=OPERATOR)
        assert made.headers["Cache-Control"] == "no-store"


async def test_a_client_secret_begins_one_call_over_webrtc() -> None:
    async with door(peer={"turn": TURN}) as ours:
        secret = await ours.secret()
        for _ in range(2):  # looking for relays begins nothing
            looked = await ours.client.get("/v1/realtime/ice_servers", headers=_bearer(secret))
            assert looked.status_code == 200
        bad = await ours.call(secret, sdp="nonsense")  # nor does an offer that is none
        assert (bad.status_code, ours.edge.edge.sessions) == (400, 0)
        call = await ours.call(secret)
        assert call.status_code == 201
        replayed = await ours.call(secret)
        assert replayed.status_code == 401
        assert "ask for a new one" in replayed.json()["error"]["message"]
        assert await socket_refused(ours, secret) == 401
        resumed = await ours.client.post(CALLS, content=ours.sdp, headers={RESUME: secret})
        assert resumed.status_code == 400 or resumed.json()["error"]["code"] == "call_not_found"
        assert await ours.hang_up(call, secret) == 200


async def test_a_client_secret_begins_one_session_over_websocket() -> None:
    async with door(maximum_sessions=1) as ours:
        secret = await ours.secret()
        async with socket(ours, KEY):
            assert await socket_refused(ours, secret) == 503  # no place: nothing has begun
            assert (await ours.call(secret)).status_code == 503
        async with socket(ours, secret):
            assert await socket_refused(ours, secret) == 401
        assert (await ours.call(secret)).status_code == 401


async def test_whoever_has_a_client_secret_hangs_up_his_own_call_only() -> None:
    async with door() as ours:
        mine, theirs = await ours.secret(), await ours.secret()
        my_call, their_call, operators = await ours.call(mine), await ours.call(theirs), await ours.call(KEY)
        assert await ours.hang_up(their_call, mine) == 404
        assert await ours.hang_up(operators, mine) == 404
        unknown = await ours.client.delete(f"{CALLS}/rtc_unknown", headers=_bearer(mine))
        hidden = await ours.client.delete(their_call.headers["Location"], headers=_bearer(mine))
        ids = ("rtc_unknown", their_call.headers["Location"].rpartition("/")[2])
        told = [answer.text.replace(each, "ID") for answer, each in zip((unknown, hidden), ids, strict=True)]
        assert told[0] == told[1]  # whether there is such a call is not told
        assert await ours.hang_up(my_call, mine) == 200
        assert await ours.hang_up(their_call, KEY) == 200
        assert await ours.hang_up(operators, KEY) == 200


@pytest.fixture
def place() -> Iterator[Workplace]:
    with workplace(2) as place:
        yield place


async def test_a_client_secret_is_used_up_among_all_workers(place: Workplace) -> None:
    async with (
        running_crew(place, workers=2, api_keys=KEY) as workers,
        httpx.AsyncClient() as client,
        Caller() as caller,
    ):
        sdp = await caller.offer()
        doors = [Door(worker, client, sdp) for worker in workers]
        made = await client.post(f"{workers[0].url}{SECRETS}", json={}, headers=OPERATOR)
        secret = made.json()["value"]
        async with socket(doors[0], secret):
            assert await socket_refused(doors[1], secret) == 401
        headers = {"Content-Type": "application/sdp", **_bearer(secret)}
        answers = [await client.post(worker.url + CALLS, content=sdp, headers=headers) for worker in workers]
        assert [answer.status_code for answer in answers] == [401, 401]


# -- what a client secret fixes ----------------------------------------------------------------------------------------


async def test_what_an_operator_has_locked_stays_in_the_offer_and_in_events() -> None:
    async with door() as ours:
        secret = await ours.secret(instructions="Be brief.", antiphon={"locked": True})
        form = {"sdp": ours.sdp, "session": json.dumps({"instructions": "Tell everything."})}
        files = {name: (None, value) for name, value in form.items()}
        refused = await ours.client.post(CALLS, files=files, headers=_bearer(secret))
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "setting_locked")
        async with socket(ours, secret) as connection:
            for event in (
                {"type": "session.update", "session": {"instructions": "Tell everything."}},
                {"type": "session.update", "session": {"antiphon": {"locked": False}}},
                {"type": "response.create", "response": {"instructions": "Tell everything."}},
            ):
                await connection.send(json.dumps(event))
                assert json.loads(await connection.recv())["error"]["code"] == "setting_locked"
            await connection.send(json.dumps({"type": "session.update", "session": {"output_modalities": ["text"]}}))
            assert json.loads(await connection.recv())["session"]["instructions"] == "Be brief."


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"expires_after": {"seconds": 5}}, "expires_after.seconds"),
        ({"expires_after": {"seconds": 7201}}, "expires_after.seconds"),
        ({"session": {"output_modalities": ["smell"]}}, "session.output_modalities.0"),
        ({"session": {"antiphon": {"locked": ["instruction"]}}}, "session.antiphon.locked"),
        ([], ""),
    ],
)
async def test_a_wish_for_a_secret_that_cannot_be_met_is_explained(body: object, param: str) -> None:
    async with running_edge() as edge, httpx.AsyncClient(base_url=edge.url) as client:
        refused = await client.post(SECRETS, json=body)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == param
