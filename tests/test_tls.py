"""Certificates: taken, refused with a reason, renewed while calls come in."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.client import connect

from edge_client.realtime.program import server_config
from edge_client.realtime.server import create_app
from edge_client.settings import EdgeSettings, read_settings
from edge_client.tls import Identity, TlsSettings, server_identity
from edge_client.workers.listening import address
from routing.errors import SettingsError
from tests.certificates import Pair, certificate_pair
from tests.edge import PromptServer, scripted_edge


def settings_of(pair: Pair) -> TlsSettings:
    return TlsSettings(certificate_file=pair.certificate, key_file=pair.key)


def identity_of(pair: Pair) -> Identity:
    identity = server_identity(settings_of(pair))
    assert identity
    return identity


def trusting(pair: Pair) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=pair.certificate)


# -- what is in the files ----------------------------------------------------------------------------------------------


def test_without_files_nothing_is_encrypted() -> None:
    assert server_identity(TlsSettings()) is None


def test_one_file_is_not_enough() -> None:
    with pytest.raises(ValueError, match="expected both certificate_file and key_file"):
        TlsSettings(certificate_file=Path("edge.crt"))


def test_what_is_no_certificate_with_its_key_is_refused_with_the_reason(tmp_path: Path) -> None:
    pair, other = certificate_pair(tmp_path), certificate_pair(tmp_path, name="other")
    empty, missing, encrypted = tmp_path / "empty", tmp_path / "missing", tmp_path / "encrypted"
    empty.touch()
    encrypted.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        )
    )
    for wrong, reason in [
        (Pair(pair.certificate, other.key), "the key of another certificate"),
        (Pair(pair.certificate, pair.certificate), "something else"),
        (Pair(empty, pair.key), "something else"),
        (Pair(pair.certificate, empty), "something else"),
        (Pair(pair.certificate, encrypted), "not encrypted, got something else"),
        (Pair(missing, pair.key), f"{missing}: No such file"),
        (Pair(tmp_path, pair.key), f"{tmp_path}: Is a directory"),
    ]:
        with pytest.raises(SettingsError, match=reason) as refused:
            server_identity(settings_of(wrong))
        assert "PRIVATE KEY" not in str(refused.value)


def test_several_workers_cannot_share_what_is_encrypted(tmp_path: Path) -> None:
    tls = {"certificate_file": tmp_path / "edge.crt", "key_file": tmp_path / "edge.key"}
    with pytest.raises(SettingsError, match="Let a proxy in front encrypt"):
        read_settings(None, environment={}, workers=2, tls=tls)


def test_the_address_tells_whether_it_is_encrypted(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
        assert address(EdgeSettings(), bound) == f"http://127.0.0.1:{port}"
        tls = TlsSettings(certificate_file=tmp_path, key_file=tmp_path)
        assert address(EdgeSettings(tls=tls), bound) == f"https://127.0.0.1:{port}"


# -- an edge that encrypts ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EncryptedEdge:
    port: int
    identity: Identity

    async def shown(self, *, version: ssl.TLSVersion | None = None) -> x509.Certificate:
        """The certificate that a new connection is shown."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if version:
            context.minimum_version = context.maximum_version = version
            context.set_ciphers("ALL:@SECLEVEL=0")
        _, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        try:
            return x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        finally:
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def encrypted_edge(pair: Pair) -> AsyncIterator[EncryptedEdge]:
    identity, ready = await asyncio.to_thread(identity_of, pair), asyncio.Event()
    async with scripted_edge(api_keys="key", tls=settings_of(pair)) as edge:
        server = PromptServer(server_config(create_app(edge, on_ready=ready.set), identity))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(server.serve(sockets=[listening]))
                await ready.wait()
                try:
                    yield EncryptedEdge(listening.getsockname()[1], identity)
                finally:
                    server.leave()


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return certificate_pair(tmp_path)


@pytest.fixture
def renewed(tmp_path: Path) -> Pair:
    return certificate_pair(tmp_path, name="renewed")


async def test_calls_are_signalled_over_tls(pair: Pair) -> None:
    trusted = await asyncio.to_thread(trusting, pair)
    async with encrypted_edge(pair) as edge, httpx.AsyncClient(verify=trusted) as client:
        answer = await client.get(f"https://localhost:{edge.port}/healthz")
        assert answer.status_code == 200
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        assert "server" not in answer.headers
        headers = {"Authorization": "Bearer key"}
        url = f"wss://localhost:{edge.port}/v1/realtime"
        async with connect(url, ssl=trusted, additional_headers=headers) as connection:
            assert "session.created" in str(await connection.recv())


@pytest.mark.slow
async def test_what_is_older_than_tls_1_2_is_refused(pair: Pair) -> None:
    async with encrypted_edge(pair) as edge:
        await edge.shown(version=ssl.TLSVersion.TLSv1_2)
        for old in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            with pytest.warns(DeprecationWarning, match="TLSv1"), pytest.raises((ssl.SSLError, OSError)):
                await edge.shown(version=old)
        with pytest.raises((httpx.HTTPError, OSError)):
            async with httpx.AsyncClient() as client:
                await client.get(f"http://localhost:{edge.port}/healthz")


@pytest.mark.slow
async def test_a_renewed_certificate_is_taken_while_calls_go_on(
    pair: Pair, renewed: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edge_client.tls")
    trusted = await asyncio.to_thread(trusting, pair)
    headers = {"Authorization": "Bearer key"}
    async with encrypted_edge(pair) as edge:
        url = f"wss://localhost:{edge.port}/v1/realtime"
        async with connect(url, ssl=trusted, additional_headers=headers) as connection:
            await connection.recv()
            before = await edge.shown()
            await asyncio.to_thread(shutil.copy, renewed.certificate, pair.certificate)
            await edge.identity.look()  # its key is not there yet
            await edge.identity.look()
            assert await edge.shown() == before
            await asyncio.to_thread(shutil.copy, renewed.key, pair.key)
            await edge.identity.look()
            await edge.identity.look()
            assert await edge.shown() != before
            await connection.send('{"type": "session.update", "session": {}}')
            assert "session.updated" in str(await connection.recv())
    told = [record.levelname for record in caplog.records if record.name == "edge_client.tls"]
    assert told == ["ERROR", "INFO"]
