"""Runbooks: one for each alert and none besides, with commands, boards and spans that exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from deployments.autoscaling import AutoscalingSettings
from deployments.engine.settings import EngineSettings
from deployments.settings import AppSettings
from edge_client.cli import app
from edge_client.settings import EdgeSettings
from routing.telemetry import names
from tests.queries import unknown_names

ROOT = Path(__file__).parent.parent
RUNBOOKS = sorted((ROOT / "k8s" / "runbooks").glob("*.md"))
BOARDS = {path.stem for path in (ROOT / "configs" / "telemetry" / "grafana" / "dashboards").glob("*.json")}
SECTIONS = ["Causes, the likeliest first", "Checks", "What helps", "Going back", "Passing it on"]
PARTS = ["Meaning.", "What callers feel.", "Where to look."]
PROGRAMS = {"antiphon", "curl", "df", "docker", "nvidia-smi", "promtool", "ray", "serve", "uptime"}


def alerts() -> dict[str, dict[str, Any]]:
    groups = [
        group
        for path in sorted((ROOT / "configs" / "telemetry" / "rules").glob("*.yaml"))
        for group in yaml.safe_load(path.read_text())["groups"]
    ]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def test_each_alert_has_its_runbook_and_each_runbook_its_alert() -> None:
    assert {path.stem for path in RUNBOOKS} == alerts().keys()


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_a_runbook_says_what_to_know_and_what_to_do(path: Path) -> None:
    text = path.read_text()
    assert text.startswith(f"# {path.stem}\n")
    assert re.findall(r"^## (.+)", text, re.MULTILINE) == SECTIONS
    assert re.findall(r"^\*\*(.+?)\*\*", text, re.MULTILINE) == PARTS
    assert "{{" not in text  # Prometheus serves it as a template


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text()
    assert all((path.parent / link).is_file() for link in re.findall(r"\]\(([^)]+)\)", text))
    boards = re.findall(r"`antiphon-(overview|turn|hops|machines|router)`", text)
    assert boards
    assert set(boards) <= BOARDS
    assert all((ROOT / file).exists() for file in re.findall(r"configs/[\w./-]+\w", text))


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_traces_are_looked_for_by_names_that_they_have(path: Path) -> None:
    known = {value for value in vars(names).values() if isinstance(value, str)} | {"error"}
    text = path.read_text()
    assert {*re.findall(r"service\s+`([^`]+)`", text), *re.findall(r"operation\s+`([^`]+)`", text)} <= known
    assert {tag.split("=")[0] for tag in re.findall(r"`(voice\.[^`]+|webrtc\.[^`]+)`", text)} <= known


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_commands_exist(path: Path) -> None:
    for line in commands(path):
        program, *arguments = shlex.split(line, comments=True)
        assert program in PROGRAMS
        if program == "antiphon":
            check_command(arguments)
        if program == "promtool":
            assert unknown_names(arguments[-1]) == []


def commands(path: Path) -> Iterator[str]:
    for block in re.findall(r"```sh\n(.*?)```", path.read_text(), re.DOTALL):
        yield from (line.split(" | ")[0] for line in block.splitlines())


def check_command(arguments: list[str]) -> None:
    """The command line understands it, with these options."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        name, *arguments = arguments
        assert name in command.commands
        command = command.commands[name]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {argument for argument in arguments if argument.startswith("-")} <= known


def test_settings_exist() -> None:
    asked = {name for path in RUNBOOKS for name in re.findall(r"ANTIPHON_([A-Z_]+)", path.read_text())}
    assert asked
    for name in asked:
        settings: Any = EdgeSettings()
        for part in name.lower().split("__"):
            assert part in type(settings).model_fields, name
            settings = getattr(settings, part)


def test_settings_of_the_cloud_exist() -> None:
    asked = {
        name
        for path in RUNBOOKS
        for name in re.findall(r"`((?:autoscaling|model_settings|replicas)\.[\w.]+)`", path.read_text())
    }
    assert asked
    for name in asked:
        settings: Any = AppSettings(autoscaling=AutoscalingSettings())
        for part in name.split("."):
            assert part in type(settings).model_fields, name
            settings = EngineSettings() if part == "model_settings" else getattr(settings, part)
