"""The program that runs the cloud on one machine: what it says when it cannot, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.offspring import PROCESSES
from edge_client.demo.cloud_process import free_port
from tests.cloud import SCRIPTED

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(280)]

PROGRAM = [sys.executable, "-m", "deployments.local"]
LEAVE_SEC = 60.0


def configuration(folder: Path, **args: Any) -> Path:
    config = folder / "serve.yaml"
    config.write_text(yaml.safe_dump({"applications": [{"args": {"model": SCRIPTED, **args}}]}))
    return config


def ended(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_it_says_how_it_is_used() -> None:
    told = ended("--help")
    assert told.returncode == 0
    options = ("--config", "--port", "--transport", "--traces", "--otlp", "--metrics-port", "--verbose")
    for word in (*options, "python -m deployments.local", "/v1/replicas"):
        assert word in told.stdout


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"model": "moshi"}, "model: expected one of cascade, lfm2-audio or package.module:function, got 'moshi'"),
        ({"replicas": {"counts": 2}}, "replicas.counts: there is no such setting; did you mean count?"),
    ],
)
def test_a_wrong_configuration_is_told_in_one_line(tmp_path: Path, args: dict[str, Any], told: str) -> None:
    config = configuration(tmp_path, **args)
    program = ended("--config", str(config))
    assert (program.returncode, program.stdout) == (1, "")
    assert program.stderr == f"antiphon: {config}: {told}\n"


def test_a_port_in_use_is_told_before_ray_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        program = ended("--config", str(configuration(tmp_path)), "--port", str(port))
    assert (program.returncode, program.stdout) == (1, "")
    assert program.stderr == f"antiphon: expected a free port, {port} is in use: choose another one with --port\n"


def those_of(environment: Mapping[str, str]) -> Iterator[str]:
    """Processes that inherited the folder for temporary files, which is only theirs."""
    mark = f"TMPDIR={environment['TMPDIR']}".encode()
    for process in PROCESSES.glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                yield (process / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue  # it has ended, or is somebody else's


@pytest.mark.skipif(not PROCESSES.exists(), reason="this system does not show what processes are told")
@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("starting Ray", signal.SIGTERM),
        ("starting Serve", signal.SIGINT),
        ("loading the model", signal.SIGTERM),
    ],
)
def test_nothing_stays_behind_whenever_it_is_ended(tmp_path: Path, line: str, number: signal.Signals) -> None:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TMPDIR": folder}
        command = [*PROGRAM, "--config", str(configuration(tmp_path)), "--port", str(free_port())]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as program:
            assert program.stdout is not None
            assert any(told.startswith(line) for told in program.stdout)
            assert list(those_of(environment))
            program.send_signal(number)
            assert program.wait(LEAVE_SEC) == 0
        assert not list(those_of(environment))
        assert not list(Path(folder).iterdir())


def test_a_model_that_does_not_load_is_told_with_where_the_logs_are(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = configuration(tmp_path, model_settings={"itemz": 3})
        command = [*PROGRAM, "--config", str(config), "--port", str(free_port())]
        program = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=200, env={**os.environ, "TMPDIR": folder}
        )
        assert program.returncode == 1
        (line,) = program.stderr.splitlines()
        assert line.startswith("antiphon: the cloud did not start: replica: ")
        assert "itemz" in line
        (logs,) = Path(folder).iterdir()
        assert line.endswith(f"(Ray's logs are in {logs})")
        assert list(logs.glob("serve/*.log"))
