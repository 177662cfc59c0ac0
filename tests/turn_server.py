"""A real TURN server for tests: coturn on a free port of loopback, with a shared secret."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from edge_client.webrtc.turn import TurnSettings

HOST = "127.0.0.1"
SECRET = "the secret of the relay"
RELAY_PORTS = (49160, 49260)
START_TIMEOUT_SEC = 30.0


@dataclass(frozen=True, slots=True)
class TurnServer:
    port: int

    @property
    def url(self) -> str:
        return f"turn:{HOST}:{self.port}?transport=udp"

    def settings(self, *, secret: str = SECRET) -> TurnSettings:
        return TurnSettings(urls=(self.url,), secret=SecretStr(secret))


@asynccontextmanager
async def turn_server(folder: Path) -> AsyncIterator[TurnServer]:
    """Run one; its files lie in ``folder``."""
    server = TurnServer(free_port())
    process = await asyncio.create_subprocess_exec(
        "turnserver",
        *_options(server.port, folder),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await until_listening(process, server.port)
        yield server
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _options(port: int, folder: Path) -> list[str]:
    values = {
        "listening-ip": HOST,
        "relay-ip": HOST,
        "listening-port": port,
        "min-port": RELAY_PORTS[0],
        "max-port": RELAY_PORTS[1],
        "realm": "antiphon",
        "static-auth-secret": SECRET,
        "allowed-peer-ip": HOST,
        "log-file": "stdout",
        "pidfile": folder / "turn.pid",
        "userdb": folder / "turn.db",
    }
    flags = (
        "fingerprint", "use-auth-secret", "no-cli", "no-tls", "no-dtls", "no-multicast-peers", "simple-log",
        "allow-loopback-peers",
    )  # fmt: skip
    return ["-n"] + [f"--{flag}" for flag in flags] + [f"--{name}={value}" for name, value in values.items()]


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((HOST, 0))
        port: int = free.getsockname()[1]
        return port


async def until_listening(process: asyncio.subprocess.Process, port: int) -> None:
    """It takes TCP on the same port."""
    async with asyncio.timeout(START_TIMEOUT_SEC):
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection(HOST, port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
    raise AssertionError(f"the TURN server ended with {process.returncode}")
