"""A cloud tier for tests: real Ray, real Serve, real sockets, on this machine. Only the model may be scripted."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

START_SEC = 90.0
STOP_SEC = 20.0
SCRIPTED = "tests.cloud_models:open_scripted"


@dataclass(frozen=True, slots=True)
class Cloud:
    """A running one. ``url`` begins with ws."""

    url: str
    pid: int

    def replicas(self) -> list[dict[str, Any]]:
        """Who answers: ``replica``, ``pid`` and the number of open ``turns`` of each. Blocks."""
        with urllib.request.urlopen(self.url.replace("ws", "http", 1) + "/v1/replicas", timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found


@contextmanager
def local_cloud(
    arguments: Mapping[str, Any] | None = None, *, transport: str = "direct", **model_settings: Any
) -> Iterator[Cloud]:
    """The program ``python -m deployments.local`` with these ``args`` of its application; else a scripted model."""
    args = {"model": SCRIPTED, "model_settings": model_settings} | dict(arguments or {})
    application = {"name": "antiphon", "import_path": "deployments.app:app", "args": args}
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w+") as log:
        config = Path(folder) / "serve.yaml"
        config.write_text(yaml.safe_dump({"applications": [application]}))
        port = free_port()
        command = [
            sys.executable,
            "-m",
            "deployments.local",
            "--config",
            str(config),
            "--port",
            str(port),
            "--transport",
            transport,
        ]
        with subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                _wait_until_ready(process, Path(log.name))
                yield Cloud(f"ws://127.0.0.1:{port}", process.pid)
            finally:
                process.terminate()
                process.wait(STOP_SEC)


def free_port() -> int:
    """One that no program of Ray's gets by chance before Serve asks for it: below those that systems give away."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SEC
    while time.monotonic() < deadline and process.poll() is None:
        if "is ready at ws://" in log.read_text():
            return
        time.sleep(0.1)
    raise AssertionError(f"the cloud did not start within {START_SEC:g} s:\n{log.read_text()}")
