"""The whole visit: of a machine with settings, of one whose settings are wrong, and of an edge elsewhere."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from edge_client.cli import app
from edge_client.doctor import clocks
from edge_client.doctor.command import doctor, findings_of
from edge_client.doctor.examination import Visit, plan
from edge_client.doctor.finding import Finding
from edge_client.tone import ToneBackend
from tests.edge import running_edge

KEY = "a-key-of-some-length"


@pytest.fixture(autouse=True)
def _brief_look_at_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "MOMENT_SEC", 0.01)


def visit(folder: Path, environment: Mapping[str, str] | None = None, **arguments: Any) -> Visit:
    own = {"XDG_STATE_HOME": str(folder), "ANTIPHON_MODELS": str(folder / "models"), "ANTIPHON_PORT": "0"}
    return Visit(environment={**own, **(environment or {})}, quick=True, **arguments)


async def found(asked: Visit) -> dict[str, Finding]:
    findings = await findings_of(asked, tell=lambda each: None, progress=lambda line: None)
    return {each.about: each for each in findings}


async def test_a_quick_visit_looks_at_everything_and_finds_what_is_missing(tmp_path: Path) -> None:
    findings = await found(visit(tmp_path))
    assert findings["models"].verdict == "fault"
    assert findings["models"].advice == "Fetch them: antiphon models pull"
    others = {about for about, each in findings.items() if each.verdict == "fault"} - {"models"}
    assert others == set(), [findings[about].line for about in others]
    assert "models at work" not in findings


async def test_with_settings_that_cannot_be_read_the_machine_is_looked_at_all_the_same(tmp_path: Path) -> None:
    findings = await found(visit(tmp_path, {"ANTIPHON_PROT": "8080"}))
    assert findings["settings"].verdict == "fault"
    assert {"packages", "clock", "GPU", "models"} <= findings.keys()
    assert not {"port", "TURN", "cloud"} & findings.keys()


@pytest.mark.parametrize("url", ["http://[::1", "https://voice.example:80800", "https://"])
def test_an_address_that_is_none_is_told_of_in_a_line(url: str) -> None:
    outcome = CliRunner().invoke(app, ["doctor", "--quick", "--url", url])
    assert (outcome.exit_code, "expected the address of an edge" in outcome.stderr) == (1, True)


@pytest.mark.slow
async def test_an_edge_elsewhere_is_called_with_our_own_key(tmp_path: Path) -> None:
    async with running_edge(ToneBackend(), api_keys=(KEY,)) as edge:
        environment = {
            "ANTIPHON_API_KEYS": KEY,
            "ANTIPHON_ENGINE": "tone",
        }
        findings = await found(visit(tmp_path, environment, url=edge.url))
    assert [each.line for each in findings.values() if each.verdict == "fault"] == []
    assert {"edge", "readiness", "page", "client secret", "call"} <= findings.keys()
    assert findings["clock of the edge"].verdict == "ok"
    assert "models" not in findings


async def test_our_own_key_is_sent_to_no_other_machine(tmp_path: Path) -> None:
    for url, given, sent in (
        ("http://localhost:8080", None, KEY),
        ("https://voice.example", None, None),
        ("https://voice.example", "theirs", "theirs"),
    ):
        planned = await plan(visit(tmp_path, {"ANTIPHON_API_KEYS": KEY}, url=url, key=given))
        looks = {check.about: check.look for group in planned.groups for check in group}
        assert [looks[about].keywords["key"] for about in ("edge", "call", "TURN of callers")] == [sent] * 3  # type: ignore[attr-defined]


async def test_no_secret_is_shown_whoever_repeats_it(tmp_path: Path) -> None:
    shown = io.StringIO()
    environment = {
        "ANTIPHON_API_KEYS": f"{KEY},other-secret-key",
        "ANTIPHON_TELEMETRY__FILE": f"{tmp_path}/{KEY}/traces.jsonl",
    }
    asked = visit(tmp_path, environment, url="http://127.0.0.1:9", key="my-own-secret-key")
    assert not await doctor(asked, Console(file=shown, width=200))
    assert not any(secret in shown.getvalue() for secret in (KEY, "other-secret-key", "my-own-secret-key"))
    assert "•••/traces.jsonl" in shown.getvalue()


async def test_programs_get_json_and_nothing_else(tmp_path: Path) -> None:
    shown = io.StringIO()
    is_well = await doctor(visit(tmp_path), Console(file=shown, width=80), as_json_only=True)
    told = json.loads(shown.getvalue())
    assert told["healthy"] is is_well is False
    assert {each["about"] for each in told["findings"]} >= {"settings", "port", "models"}


def test_help_teaches() -> None:
    output = CliRunner().invoke(app, ["doctor", "--help"], env={"COLUMNS": "200"}).output
    for taught in ("--url", "--json", "--quick", "antiphon doctor --url", "no key is shown"):
        assert taught in output


@pytest.mark.parametrize("arguments", [["--call"]])
def test_a_question_needs_somebody_to_ask(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["doctor", *arguments])
    assert result.exit_code == 2
