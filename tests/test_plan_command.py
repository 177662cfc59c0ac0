"""``antiphon plan`` from end to end, with small cells."""

from __future__ import annotations

import json
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from edge_client import cli

ROOT = Path(__file__).parent.parent
ENTRY_POINTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][cli.BROUGHT]
SMALL = {
    "day": {"played_sec": 200},
    "scales": [
        {"name": "50", "sessions": 50},
        {"name": "500", "sessions": 500, "cell_sessions": 50, "regions": 2},
    ],
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The command line, where this package is installed as pyproject.toml says."""
    told = tmp_path / "brought-1.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: brought\nVersion: 1\n")
    lines = [f"{name} = {place}" for name, place in ENTRY_POINTS.items()]
    (told / "entry_points.txt").write_text("\n".join([f"[{cli.BROUGHT}]", *lines]) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(SMALL))
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(cli.app, ["plan", *arguments])


def test_the_entry_point_is_there() -> None:
    for place in ENTRY_POINTS.values():
        module, _, name = place.partition(":")
        assert getattr(import_module(module), name)


def test_help_tells_how(run: Any) -> None:
    told = run("--help").output
    assert "--quick" in told
    assert "nobody" not in told
    assert "plan" in CliRunner().invoke(cli.app, ["--help"]).output


@pytest.mark.slow
def test_a_plan_is_told_in_tables_and_saved(run: Any, tmp_path: Path) -> None:
    outcome = run("--config", "plan.yaml", "--json", "plan.json", "--html", "plan.html", "--seed", "3")
    assert outcome.exit_code == 0, outcome.output
    for words in ("V2V p50, p95, p99", "GPUs, most", "TURN relays", "together, mean", "no GPU was"):
        assert words in outcome.output
    saved = json.loads((tmp_path / "plan.json").read_text())
    assert list(saved["scales"]) == ["50", "500"]
    turns = saved["scales"]["500"]["turns"]
    assert turns["asked"] == sum(turns[end] for end in ("cloud", "device", "refused", "lost", "open"))
    page = (tmp_path / "plan.html").read_text()
    assert page.count("<svg") == 2 * 8
    assert "500: a day" in page


@pytest.mark.slow
def test_a_scale_may_have_any_name(run: Any) -> None:
    Path("named.yaml").write_text(
        yaml.safe_dump({"day": {"played_sec": 50}, "scales": [{"name": "[/x]", "sessions": 5}]})
    )
    outcome = run("--config", "named.yaml", "--quick")
    assert (outcome.exit_code, "[/x]" in outcome.output) == (0, True), outcome.output


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_disk_that_is_full_does_not_cost_the_tables(run: Any, tmp_path: Path) -> None:
    outcome = run("--config", "plan.yaml", "--json", "/dev/full", "--html", "plan.html")
    assert outcome.exit_code == 1
    assert "cannot write /dev/full: No space left" in outcome.stderr
    assert "GPUs, most" in outcome.output
    assert (tmp_path / "plan.html").exists()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_plan(run: Any) -> None:
    once, again, other = (run("-c", "plan.yaml", "--seed", seed, "--json", "-").stdout for seed in "112")
    assert once == again
    assert json.loads(once)["scales"]["50"]["turns"] != json.loads(other)["scales"]["50"]["turns"]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--config", "missing.yaml"], "expected settings as YAML"),
        (["--config", "wrong.yaml"], "did you mean slots?"),
        (["--measured", "plan.yaml"], "expected JSON of `antiphon load --json`"),
        (["--json", "nowhere/plan.json"], "cannot write"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(run: Any, arguments: list[str], fault: str) -> None:
    Path("wrong.yaml").write_text("replicas: {slot: 3}\n")
    outcome = run(*arguments)
    assert outcome.exit_code == 1
    assert fault in outcome.stderr
    assert "Traceback" not in outcome.output


def test_measured_figures_are_taken_over(run: Any) -> None:
    steps = [
        {"calls": calls, "listening": True, "costs": {"sessions": calls, "cores": 0.1 * calls}} for calls in (1, 10)
    ]
    Path("load.json").write_text(json.dumps({"plan": {}, "steps": steps}))
    told = json.loads(run("-c", "plan.yaml", "--measured", "load.json", "--json", "-").stdout)
    gateways = told["settings"]["gateways"]
    assert gateways["session_cores"] + gateways["hearing_cores"] == pytest.approx(0.1)
