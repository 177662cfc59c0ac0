"""A cloud tier for tests: real Ray, real Serve, real sockets, on this machine. Only the model may be scripted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from edge_client.demo.cloud_process import free_port

START_SEC = 180.0
STOP_SEC = 60.0
METRICS = re.compile(r"its metrics are at (\S+)")
SCRIPTED = "tests.cloud_models:open_scripted"

# For an ingress on a machine with much else to do, where a caller would rather go elsewhere: nobody's place is lost
# because a process had to wait for a core.
PATIENT: Mapping[str, float] = {"reserve_sec": 20.0, "welcome_sec": 20.0}

# Autoscaling in seconds where a cluster counts minutes. A replica starts within five or six on two cores.
HURRIED: Mapping[str, float] = {
    "maximum_replicas": 3,
    "occupancy": 0.5,
    "cold_start_sec": 5.0,
    "growth_sec": 4.0,
    "queue_wait_sec": 10.0,
    "first_audio_sec": 10.0,  # other programs run on this machine too
    "leave_every_sec": 1.0,
    "report_every_sec": 0.5,
}


@dataclass(frozen=True, slots=True)
class Cloud:
    """A running one. ``url`` begins with ws, ``metrics_url`` with http."""

    url: str
    pid: int
    metrics_url: str = field(default="", kw_only=True)

    def replicas(self) -> list[dict[str, Any]]:
        """Who answers: ``replica``, ``pid`` and the number of open ``turns`` of each. Blocks."""
        with urllib.request.urlopen(self.url.replace("ws", "http", 1) + "/v1/replicas", timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found


@contextmanager
def local_cloud(
    arguments: Mapping[str, Any] | None = None,
    *,
    transport: str = "direct",
    environment: Mapping[str, str] | None = None,
    **model_settings: Any,
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
        with subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | (environment or {})) as process:
            try:
                told = _told_until_ready(process, Path(log.name))
                yield Cloud(f"ws://127.0.0.1:{port}", process.pid, metrics_url=METRICS.findall(told)[0])
            finally:
                process.terminate()
                process.wait(STOP_SEC)


def _told_until_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_SEC
    while time.monotonic() < deadline and process.poll() is None:
        if "is ready at ws://" in (told := log.read_text()):
            return told
        time.sleep(0.1)
    raise AssertionError(f"the cloud did not start within {START_SEC:g} s:\n{log.read_text()}")


# -- several raylets -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClusterCloud(Cloud):
    """One whose nodes and application can be changed while it runs. Its methods block."""

    process: subprocess.Popen[str]

    def do(self, command: str, **arguments: Any) -> None:
        """Carry out one command of `tests.cloud_cluster`, and wait until it is done."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": command} | arguments) + "\n")
        self.process.stdin.flush()
        self._await_answer()

    def deploy(self, *, replicas: int, on_nodes: bool = False, **args: Any) -> None:
        """Deploy the scripted model, in place where only the number of replicas changes."""
        arguments = {"model": SCRIPTED, "ingress": PATIENT} | args
        self.do("deploy", args=arguments, replicas=replicas, on_nodes=on_nodes)

    def _await_answer(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        told = json.loads(line) if line else {"error": "the cluster is gone"}
        if "error" in told:
            raise AssertionError(told["error"])


@contextmanager
def cluster_cloud() -> Iterator[ClusterCloud]:
    """A head for the ingress; nodes and the application are for the test to add."""
    port = free_port()
    command = [sys.executable, "-m", "tests.cloud_cluster", str(port)]
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        cloud = ClusterCloud(f"ws://127.0.0.1:{port}", process.pid, process)
        try:
            cloud._await_answer()
            yield cloud
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(STOP_SEC)
            except subprocess.TimeoutExpired:
                process.kill()
            log.seek(0)
            Path("artifacts").mkdir(exist_ok=True)
            Path("artifacts/cluster.log").write_text(log.read())
