"""An edge as its callers find it: its probes, its page and its client secrets, and what else may be at its address."""

from __future__ import annotations

import json

import pytest

from edge_client.doctor.edge import look_at_edge
from edge_client.doctor.finding import Verdict
from tests.edge import running_edge
from tests.otlp_sink import nobody_listens
from tests.web_server import Answer, web_server

KEY = "a key of some length"


async def verdicts(url: str, key: str | None = None) -> dict[str, Verdict]:
    return {found.about: found.verdict for found in await look_at_edge(url, key=key)}


async def test_an_edge_that_is_well_is_well_in_all() -> None:
    async with running_edge(api_keys=(KEY,)) as edge:
        well = {"edge": "ok", "readiness": "ok", "page": "ok", "client secret": "ok"}
        assert await verdicts(edge.url, KEY) == well
        assert await verdicts(edge.url + "/v1/realtime/calls", KEY) == well


async def test_without_a_key_no_secret_is_had_and_with_a_wrong_one_that_is_a_fault() -> None:
    async with running_edge(api_keys=(KEY,)) as edge:
        assert (await verdicts(edge.url))["client secret"] == "skipped"
        assert (await verdicts(edge.url, "another"))["client secret"] == "fault"


def draining(request: str) -> Answer:
    if "/healthz" in request:
        return 200, {}, json.dumps({"status": "ok", "sessions": 3}).encode()
    return 503, {}, json.dumps({"status": "draining"}).encode()


async def test_an_edge_that_leaves_is_told() -> None:
    async with web_server(draining) as url:
        edge, ready, page, secret = await look_at_edge(url, key=None)
    assert (edge.verdict, edge.found) == ("ok", f"3 sessions at {url}")
    assert (ready.verdict, ready.found) == ("fault", "draining")
    assert "another one" in ready.advice
    assert (page.verdict, secret.verdict) == ("warning", "fault")


def dumb(request: str) -> Answer:
    if "/healthz" in request:
        return 200, {}, json.dumps({"status": "ok", "sessions": 3}).encode()
    return 0, {}, b""


async def test_an_edge_that_gives_no_answer_to_the_rest_is_no_well_one() -> None:
    async with web_server(dumb) as url:
        there, silent = await look_at_edge(url, key=None)
    assert (there.verdict, silent.verdict) == ("ok", "fault")
    assert silent.found.startswith("it answers /healthz, and then: ")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"status": "ok"}'])
async def test_something_else_at_the_address_is_a_fault(body: bytes) -> None:
    async with web_server(lambda request: (200, {}, body)) as url:
        [found] = await look_at_edge(url, key=None)
    assert (found.verdict, found.expected) == ("fault", f"an edge at {url}")


async def test_nobody_there_is_a_fault() -> None:
    with nobody_listens() as url:
        [found] = await look_at_edge(url, key=None)
    assert (found.verdict, "antiphon edge" in found.advice) == ("fault", True)
