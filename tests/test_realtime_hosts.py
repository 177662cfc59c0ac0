"""Names under which an edge without keys is asked: a page elsewhere cannot have its own lead here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from edge_client.realtime.hosts import is_loopback
from tests.crew import Workplace, running_crew, workplace
from tests.edge import running_edge


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8080", "localhost.", "127.0.0.1", "127.8.9.1:80", "[::1]", "[::1]:8080", "a.localhost"],
)
def test_names_of_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "[::1.theirs.example",
        "theirs.example",
        "localhost.theirs.example",
        "notlocalhost",
        "127.0.0.1.theirs.example",
        "192.168.1.7",
        "0.0.0.0",
        "[::]",
        "2130706433x",
        "localhost@theirs.example",
    ],
)
def test_names_of_others(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.slow
async def test_without_keys_only_names_of_this_machine_are_heeded() -> None:
    async with running_edge() as edge, httpx.AsyncClient(base_url=edge.url) as client:
        for path in ("/", "/healthz", "/v1/realtime/ice_servers"):
            assert (await client.get(path, headers={"Host": "localhost:8080"})).status_code == 200
            refused = await client.get(path, headers={"Host": "theirs.example"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "host_not_allowed")
            assert "'theirs.example'" in refused.json()["error"]["message"]
            assert refused.headers["X-Content-Type-Options"] == "nosniff"
        with pytest.raises(InvalidStatus) as refusal:
            port = urlsplit(edge.url).port
            await connect("ws://theirs.example/v1/realtime", host="127.0.0.1", port=port)
        assert refusal.value.response.status_code == 403


@pytest.mark.slow
async def test_without_keys_a_page_from_elsewhere_begins_no_call_by_a_form_that_it_may_send_anywhere() -> None:
    form = {"sdp": (None, "v=0")}  # no offer: 400 where it is looked at
    image = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    async with running_edge() as edge, httpx.AsyncClient(base_url=edge.url) as client:
        for origin in ("https://theirs.example", "null", "http://localhost.theirs.example", "http://[::1.example"):
            refused = await client.post("/v1/realtime/calls", files=form, headers={"Origin": origin})
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "origin_not_allowed")
        assert (await client.get("/v1/statistics?sweep=true", headers=image)).status_code == 403
        for origin in (edge.url, "http://localhost:3000", "http://a.localhost", "http://[::1]:8080"):
            taken = await client.post("/v1/realtime/calls", files=form, headers={"Origin": origin})
            assert taken.status_code == 400
        assert (await client.get("/", headers=image | {"Sec-Fetch-Mode": "navigate"})).status_code == 200  # a link


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"api_keys": "key"}, 200),
        ({"allowed_origins": "https://tunnel.example"}, 200),
        ({"allowed_origins": "*"}, 200),
        ({"allowed_origins": "https://theirs.example"}, 403),
    ],
)
async def test_keys_and_allowed_origins_make_other_names_known(settings: dict[str, Any], status: int) -> None:
    async with running_edge(**settings) as edge, httpx.AsyncClient(base_url=edge.url) as client:
        assert (await client.get("/healthz", headers={"Host": "tunnel.example"})).status_code == status


@pytest.fixture
def place() -> Iterator[Workplace]:
    with workplace(2) as place:
        yield place


@pytest.mark.slow
async def test_workers_without_keys_ask_each_other(place: Workplace) -> None:
    async with running_crew(place, workers=2) as workers, httpx.AsyncClient() as client:
        told = (await client.get(f"{workers[0].url}/v1/statistics")).json()
    assert (len(told["workers"]), told["silent_workers"]) == (2, [])
