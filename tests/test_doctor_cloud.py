"""Clouds that answer, do not let us in, are full, mute, of another protocol, or not there."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from websockets.asyncio.server import ServerConnection, serve

from edge_client.cloud.settings import CloudSettings
from edge_client.doctor.cloud import look_at_cloud
from edge_client.doctor.finding import Finding
from routing.load import Load
from routing.wire import VERSION
from tests.certificates import Pair, certificate_pair
from tests.cloud_server import CloudServer, Faults, cloud_server
from tests.otlp_sink import black_hole, nobody_listens
from tests.scripted import ScriptedBackend

KEY = SecretStr("the-key-of-the-cloud")


@asynccontextmanager
async def cloud(faults: Faults | None = None, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[CloudServer]:
    async with cloud_server(ScriptedBackend(), faults=faults, ssl=tls) as running:
        yield running


async def look(url: str, **settings: object) -> list[Finding]:
    patience = {"connect_timeout_sec": 5.0, "heartbeat_timeout_sec": 5.0}
    return await look_at_cloud(CloudSettings.model_validate({"url": url, "key": KEY, **patience, **settings}))


async def test_a_cloud_that_answers_tells_its_load_and_is_told_our_key() -> None:
    async with cloud() as running:
        running.load = Load(slots=8, in_use=3, waiting=1)
        [found] = await look(running.url)
    assert found.verdict == "ok"
    assert "protocol 1; 3 of 8 slots in use, 1 waiting" in found.found
    assert running.requests[0].headers["Authorization"] == f"Bearer {KEY.get_secret_value()}"


async def test_a_cloud_without_replicas_is_warned_of() -> None:
    async with cloud() as running:
        running.load = Load(slots=0, in_use=0)
        _, replicas = await look(running.url)
    assert (replicas.about, replicas.verdict) == ("replicas", "warning")


@pytest.mark.parametrize(
    ("faults", "advised"),
    [
        (Faults(refuse_http=401), "cloud.key"),
        (Faults(refuse_http=404), "cloud.url"),
        (Faults(refuse_http=503, retry_after="2"), "more replicas"),
    ],
)
async def test_what_a_cloud_refuses_is_told_with_what_to_do(faults: Faults, advised: str) -> None:
    async with cloud(faults) as running:
        [found] = await look(running.url)
    assert found.verdict == "fault"
    assert advised in found.advice
    assert KEY.get_secret_value() not in found.line


async def test_a_cloud_of_another_protocol_is_told() -> None:
    async def answer(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(bytes([VERSION + 1]) + b"\x00{}")

    async with serve(answer, "127.0.0.1", 0) as server:
        (port,) = (listening.getsockname()[1] for listening in server.sockets)
        [found] = await look(f"ws://127.0.0.1:{port}")
    assert (found.verdict, "keep to the protocol" in found.found) == ("fault", True)
    assert "same protocol" in found.advice


async def test_nobody_there_is_a_fault() -> None:
    with nobody_listens() as url:
        [found] = await look(url.replace("http", "ws"))
    assert (found.verdict, "firewalls" in found.advice) == ("fault", True)


async def test_a_black_hole_is_given_up() -> None:
    with black_hole() as url:
        [found] = await look(url.replace("http", "ws"), connect_timeout_sec=0.1)
    assert found.found == "the cloud did not answer within 0.1 seconds"
    assert "firewalls" in found.advice


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return certificate_pair(tmp_path)


async def test_a_certificate_that_nobody_signed_is_told_from_one_that_is_trusted(pair: Pair) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.certificate, pair.key)
    async with cloud(tls=tls) as running:
        url = running.url.replace("ws://", "wss://")
        [refused] = await look(url)
        [trusted] = await look(url, ca_file=pair.certificate)
    assert (refused.verdict, "cloud.ca_file" in refused.advice) == ("fault", True)
    assert trusted.verdict == "ok"


async def test_a_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    [found] = await look("wss://127.0.0.1:9", ca_file=tmp_path / "nowhere")
    assert (found.verdict, found.advice) == ("fault", "Mend that file: the edge cannot use it either.")


async def test_without_a_cloud_the_device_answers() -> None:
    [found] = await look_at_cloud(CloudSettings())
    assert found.verdict == "skipped"
