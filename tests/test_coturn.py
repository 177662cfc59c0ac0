"""coturn as a cluster starts it: its configuration, rendered by its own script, and a real server that reads it."""

from __future__ import annotations

import asyncio
import secrets
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aioice.stun import TransactionFailed
from aioice.turn import TurnClientUdpProtocol
from blockbuster import BlockBuster
from pydantic import SecretStr

from edge_client.webrtc.peer import PeerSettings
from edge_client.webrtc.turn import TurnSettings, check_relay, relays
from routing.errors import SettingsError
from tests.browser import visit
from tests.edge import running_edge
from tests.test_turn import ONLY_RELAYS
from tests.turn_server import free_port, until_listening

COTURN = Path(__file__).parent.parent / "configs" / "coturn"
HOST = "127.0.0.1"
EDGES = "198.51.100.0-198.51.100.255"  # the only peers that a relay may lead to
SECRET = secrets.token_hex(32)
CHANNEL = 0x4000
FORBIDDEN = 403


def rendered(folder: Path, secret: str = SECRET, **environment: str) -> str:
    """What render.sh writes, with the secret in ``folder``."""
    told = variables(folder, secret) | environment
    return subprocess.run(
        ["/bin/sh", COTURN / "render.sh"], env=told, check=True, capture_output=True, text=True
    ).stdout


def variables(folder: Path, secret: str) -> dict[str, str]:
    (folder / "secret").write_text(secret)
    return {
        "LISTEN": HOST,
        "ALLOWED_PEERS": EDGES,
        "SECRET_FILE": str(folder / "secret"),
        "STATE": str(folder),
        "TLS": str(folder / "tls"),
    }


def options(text: str) -> Mapping[str, list[str]]:
    """The values of each option; a flag has one that is empty."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


# -- what is rendered ------------------------------------------------------------------------------------------------


def test_a_relay_leads_to_edges_and_nowhere_else(tmp_path: Path) -> None:
    found = options(rendered(tmp_path, ALLOWED_PEERS="10.1.0.0-10.1.255.255 192.0.2.7"))
    assert found["denied-peer-ip"] == ["0.0.0.0-255.255.255.255", "::-" + ":".join(["ffff"] * 8)]
    assert found["allowed-peer-ip"] == ["10.1.0.0-10.1.255.255", "192.0.2.7"]
    assert {"no-multicast-peers", "no-tcp-relay", "use-auth-secret", "no-cli", "fingerprint"} <= found.keys()


def test_the_secret_comes_from_its_file_and_is_nowhere_else(tmp_path: Path) -> None:
    assert options(rendered(tmp_path))["static-auth-secret"] == [SECRET]
    assert all(SECRET not in path.read_text() for path in COTURN.iterdir())


def test_without_a_secret_nothing_is_started(tmp_path: Path) -> None:
    environment = variables(tmp_path, secret="")
    run = subprocess.run(
        ["/bin/sh", COTURN / "render.sh"], env=environment, check=False, capture_output=True, text=True
    )
    assert run.returncode == 1
    assert "expected a secret" in run.stderr


def test_it_relays_from_the_first_of_its_addresses(tmp_path: Path) -> None:
    found = options(rendered(tmp_path, LISTEN="192.0.2.1 127.0.0.1"))
    assert found["listening-ip"] == ["192.0.2.1", "127.0.0.1"]
    assert found["relay-ip"] == ["192.0.2.1"]
    assert found["prometheus-address"] == ["192.0.2.1"]


def test_certificates_are_shown_where_there_are_some(tmp_path: Path) -> None:
    assert {"no-tls", "no-dtls"} <= options(rendered(tmp_path)).keys()
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls" / "tls.crt").write_text("a certificate")
    found = options(rendered(tmp_path))
    assert found["cert"] == [str(tmp_path / "tls" / "tls.crt")]
    assert found["pkey"] == [str(tmp_path / "tls" / "tls.key")]
    assert "no-tls" not in found


# -- a server that reads it ------------------------------------------------------------------------------------------


@asynccontextmanager
async def coturn(folder: Path, secret: str = SECRET, **environment: str) -> AsyncIterator[int]:
    """The port of one that was started with the rendered configuration, but for that port."""
    port = free_port()
    text = await asyncio.to_thread(rendered, folder, secret, **environment)
    configuration = folder / "turnserver.conf"
    content = text.replace("listening-port=3478", f"listening-port={port}")
    await asyncio.to_thread(configuration.write_text, content)
    process = await asyncio.create_subprocess_exec(
        "turnserver", "-c", configuration, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await until_listening(process, port)
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def settings(port: int, secret: str = SECRET) -> TurnSettings:
    return TurnSettings(urls=(f"turn:{HOST}:{port}?transport=udp",), secret=SecretStr(secret))


@pytest.mark.turn
async def test_edges_make_credentials_that_it_takes_while_they_last(tmp_path: Path) -> None:
    async with coturn(tmp_path) as port:
        assert (await check_relay(settings(port), now=time.time())).startswith(f"{HOST}:")
        with pytest.raises(SettingsError, match="refuses our credentials"):
            await check_relay(settings(port, secret=SECRET[::-1]), now=time.time())
        with pytest.raises(SettingsError, match="refuses our credentials"):
            await check_relay(settings(port), now=time.time() - 3600)


@pytest.mark.turn
async def test_while_the_secret_is_changed_it_takes_both(tmp_path: Path) -> None:
    new = secrets.token_hex(32)
    async with coturn(tmp_path, secret=f"{new}\n{SECRET}") as port:
        for each in (new, SECRET):
            assert (await check_relay(settings(port, secret=each), now=time.time())).startswith(f"{HOST}:")


@pytest.mark.turn
async def test_a_caller_with_a_relay_reaches_edges_only(tmp_path: Path) -> None:
    async with coturn(tmp_path) as port, relay_of_a_caller(port) as relay:
        await relay.channel_bind(CHANNEL, ("198.51.100.7", 40_000))
        for peer in ("127.0.0.1", "10.96.0.1", "169.254.169.254", "198.51.101.7", "224.0.0.1"):
            with pytest.raises(TransactionFailed) as refused:
                await relay.channel_bind(CHANNEL + 1, (peer, 40_000))
            assert refused.value.response.attributes["ERROR-CODE"][0] == FORBIDDEN, peer


@asynccontextmanager
async def relay_of_a_caller(port: int) -> AsyncIterator[TurnClientUdpProtocol]:
    told = relays(settings(port), name="caller", now=time.time())
    assert told
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: TurnClientUdpProtocol(
            (HOST, port), username=told.username, password=told.credential, lifetime=600, channel_refresh_time=500
        ),
        remote_addr=(HOST, port),
    )
    try:
        await protocol.connect()
        yield protocol
        await protocol.delete()
    finally:
        transport.close()


@pytest.mark.turn
@pytest.mark.browser
@pytest.mark.timeout(60)
async def test_a_browser_that_reaches_one_port_of_a_cluster_is_connected(
    blockbuster: BlockBuster, tmp_path: Path
) -> None:
    """As on a laptop where only two ports lead to the node of kind: one is the relay's, over TCP."""
    blockbuster.deactivate()  # Playwright reads files inside the event loop
    node = own_address()
    async with coturn(tmp_path, LISTEN=f"{node} {HOST}", ALLOWED_PEERS=node) as port:
        turn = TurnSettings(urls=(f"turn:{HOST}:{port}?transport=tcp",), secret=SecretStr(SECRET))
        peer = PeerSettings(listen_addresses=(node,), turn=turn)
        async with running_edge(peer=peer) as edge, visit(edge.url, before=ONLY_RELAYS) as seen:
            await seen.call()


def own_address() -> str:
    """Of this machine, on its network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unsent:
        unsent.connect(("192.0.2.1", 9))
        address: str = unsent.getsockname()[0]
        return address
