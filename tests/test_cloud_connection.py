"""How an edge and its cloud make sure of each other: certificates both ways, over real TLS."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from pathlib import Path
from typing import Any

import pytest

from edge_client.cloud.connection import Line, cloud_tls
from edge_client.cloud.settings import CloudSettings
from routing.errors import BackendUnavailable, SettingsError
from routing.wire import Ping, Pong, encode
from tests.certificates import Pair, certificate_pair
from tests.cloud_server import HEARTBEAT_PATH, cloud_server
from tests.scripted import ScriptedBackend


def demanding(own: Pair, *known: Pair) -> ssl.SSLContext:
    """Of a cloud that lets in whoever shows a certificate that it knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.certificate, own.key)
    context.verify_mode = ssl.CERT_REQUIRED
    for each in known:
        context.load_verify_locations(each.certificate)
    return context


async def is_let_in(line: Line) -> bool:
    try:
        async with line.open(HEARTBEAT_PATH) as connection:
            await connection.send(encode(Ping(1)))
            return isinstance(await connection.receive(), Pong)
    except BackendUnavailable:
        return False


def shown(url: str, cloud: Pair, own: Pair | None = None) -> CloudSettings:
    ours: dict[str, Any] = {"certificate_file": own.certificate, "key_file": own.key} if own else {}
    return CloudSettings(url=url, ca_file=cloud.certificate, connect_timeout_sec=20.0, **ours)


@pytest.fixture
def cloud_pair(tmp_path: Path) -> Pair:
    return certificate_pair(tmp_path, name="cloud")


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return certificate_pair(tmp_path, name="edge", names=("edge",))


@pytest.fixture
def stranger(tmp_path: Path) -> Pair:
    return certificate_pair(tmp_path, name="stranger", names=("stranger",))


async def test_a_cloud_that_demands_a_certificate_is_shown_one(cloud_pair: Pair, pair: Pair, stranger: Pair) -> None:
    context = await asyncio.to_thread(demanding, cloud_pair, pair)
    async with cloud_server(ScriptedBackend(), ssl=context) as cloud:
        assert await is_let_in(Line(shown(cloud.url, cloud_pair, pair)))
        assert not await is_let_in(Line(shown(cloud.url, cloud_pair)))
        assert not await is_let_in(Line(shown(cloud.url, cloud_pair, stranger)))
        assert not await is_let_in(Line(shown(cloud.url, stranger, pair)))  # it is not who we think


@pytest.mark.slow
async def test_a_renewed_certificate_is_shown_without_a_new_start(
    cloud_pair: Pair, pair: Pair, stranger: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_client.cloud.connection.LOOK_SEC", 0.0)
    context = await asyncio.to_thread(demanding, cloud_pair, stranger)
    async with cloud_server(ScriptedBackend(), ssl=context) as cloud:
        line = Line(shown(cloud.url, cloud_pair, pair))
        assert not await is_let_in(line)
        await asyncio.to_thread(shutil.copy, stranger.key, pair.key)
        await asyncio.to_thread(shutil.copy, stranger.certificate, pair.certificate)
        assert await is_let_in(line)


def test_what_is_no_certificate_is_told_at_the_start(tmp_path: Path, pair: Pair, stranger: Pair) -> None:
    for wrong, reason in [
        (Pair(pair.certificate, stranger.key), "the key of another certificate"),
        (Pair(tmp_path / "missing", pair.key), "No such file"),
    ]:
        with pytest.raises(SettingsError, match=reason):
            cloud_tls(shown("wss://cloud.example", pair, wrong))
    with pytest.raises(SettingsError, match="expected certificates"):
        cloud_tls(shown("wss://cloud.example", Pair(pair.key, pair.key)))


async def test_a_certificate_that_went_missing_is_a_cloud_that_cannot_be_reached(tmp_path: Path, pair: Pair) -> None:
    line = Line(shown("wss://127.0.0.1:1", pair, Pair(tmp_path / "missing", pair.key)))
    with pytest.raises(BackendUnavailable, match="missing: No such file"):
        async with line.open(HEARTBEAT_PATH):
            pass
