"""A relay that is given, refused for a wrong secret, or not there: three different things to do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from edge_client.doctor.relay import look_at_callers_relays, look_at_relays
from edge_client.webrtc import turn
from edge_client.webrtc.peer import PeerSettings
from edge_client.webrtc.turn import TurnSettings
from tests.edge import running_edge
from tests.otlp_sink import nobody_listens
from tests.turn_server import TurnServer, turn_server


@pytest.fixture
async def coturn(tmp_path: Path) -> AsyncIterator[TurnServer]:
    async with turn_server(tmp_path) as running:
        yield running


async def test_without_a_server_there_is_nothing_to_look_at() -> None:
    [found] = await look_at_relays(TurnSettings())
    assert found.verdict == "skipped"


@pytest.mark.turn
async def test_a_relay_is_given(coturn: TurnServer) -> None:
    [found] = await look_at_relays(coturn.settings())
    assert found.verdict == "ok"
    assert found.found.startswith(f"{coturn.url} gives relays, such as 127.0.0.1:")


@pytest.mark.turn
async def test_a_wrong_secret_is_told_from_a_server_that_is_not_there(
    coturn: TurnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    [wrong] = await look_at_relays(coturn.settings(secret="another secret"))
    assert (wrong.verdict, "static-auth-secret" in wrong.advice) == ("fault", True)
    assert "another secret" not in wrong.line
    monkeypatch.setattr(turn, "ANSWER_TIMEOUT_SEC", 0.2)
    settings = TurnSettings(urls=("turn:127.0.0.1:9?transport=udp",), secret=SecretStr("s"))
    [absent] = await look_at_relays(settings)
    assert (absent.verdict, "firewalls" in absent.advice) == ("fault", True)


async def test_nobody_there_is_a_fault_that_names_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "ANSWER_TIMEOUT_SEC", 0.1)
    settings = TurnSettings(urls=("turn:127.0.0.1:9?transport=udp",), secret=SecretStr("s"))
    [found] = await look_at_relays(settings)
    assert (found.verdict, found.expected) == ("fault", "an answer of turn:127.0.0.1:9?transport=udp")


@pytest.mark.turn
async def test_the_relays_that_an_edge_tells_its_callers_of_are_asked_too(coturn: TurnServer) -> None:
    async with running_edge(peer=PeerSettings(turn=coturn.settings())) as edge:
        [found] = await look_at_callers_relays(edge.url + "/v1/realtime", key=None)
    assert (found.about, found.verdict) == ("TURN of callers", "ok")


async def test_an_edge_without_relays_and_one_that_wants_a_key_tell_of_none() -> None:
    async with running_edge() as edge:
        [none] = await look_at_callers_relays(edge.url, key=None)
    async with running_edge(api_keys=("a key of some length",)) as edge:
        [refused] = await look_at_callers_relays(edge.url, key="another")
    with nobody_listens() as url:
        [absent] = await look_at_callers_relays(url, key=None)
    assert (absent.verdict, absent.found.startswith("the edge cannot be asked: ")) == ("skipped", True)
    assert (none.verdict, none.found) == ("skipped", "the edge has none for its callers")
    assert (refused.verdict, refused.found) == ("skipped", "the edge tells of none: HTTP 401")
