"""A relay that is given, refused for a wrong secret, or not there: three different things to do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from edge_client.doctor.relay import look_at_relays
from edge_client.webrtc import turn
from edge_client.webrtc.turn import TurnSettings
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
