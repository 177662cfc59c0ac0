"""Figures of `antiphon load`, taken over and predicted from each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deployments.plan.measured import Line, Point, adopt, fit, grow, predictions, read_points
from deployments.plan.settings import PlanSettings
from routing.errors import SettingsError

MIB = 2**20
PLAN = PlanSettings()


def step(calls: int, *, listening: bool, cores: float, turns_per_sec: float = 0.0) -> dict[str, Any]:
    """As `antiphon load --steps --json` writes it: calls come within ten seconds, and are held for a hundred."""
    turns = [{"at_sec": 10 + second / turns_per_sec} for second in range(int(100 * turns_per_sec))]
    return {
        "calls": calls,
        "listening": listening,
        "summary": {"answered": len(turns)},
        "costs": {"sessions": calls, "cores": cores, "resident_bytes": (500 + 2 * calls) * MIB, "core_percent": None},
        "turns": turns,
        "samples": [{"at_sec": second, "calls": 0 if second < 10 else calls} for second in range(111)],
    }


def saved(folder: Path, *steps: dict[str, Any]) -> Path:
    file = folder / "load.json"
    file.write_text(json.dumps({"conditions": {}, "plan": {"think_sec": 2}, "steps": steps}))
    return file


def test_steps_are_points(tmp_path: Path) -> None:
    file = saved(tmp_path, step(10, listening=False, cores=0.6, turns_per_sec=1.0), step(1, listening=True, cores=0.02))
    silent, talking = read_points(file)
    assert silent == Point(sessions=1, cores=0.02, listening=1.0, turns_per_sec=0.0, resident_mib=502)
    assert talking.turns_per_sec == pytest.approx(1.0, rel=0.02)


def test_one_load_is_a_point(tmp_path: Path) -> None:
    file = tmp_path / "load.json"
    file.write_text(json.dumps({"plan": {"listening": 1.0}, "costs": {"sessions": 20.0, "core_percent": 2.0}}))
    assert read_points(file) == [Point(sessions=20, cores=0.4, listening=1.0)]


def test_of_what_is_odd_in_a_file_nothing_is_taken(tmp_path: Path) -> None:
    odd = {"costs": {"sessions": 3, "cores": 1, "resident_bytes": "x"}, "samples": [1, [], {"at_sec": "x"}], "turns": 3}
    file = tmp_path / "load.json"
    file.write_text(json.dumps({"plan": {"listening": "x"}, **odd}))
    assert read_points(file) == [Point(sessions=3, cores=1)]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"costs": {"sessions": 0, "cores": 1}}',
        '{"costs": {"sessions": -3, "cores": 1}}',
        '{"costs": {"sessions": 3, "cores": NaN}}',
        '{"costs": 3}',
    ],
)
def test_a_file_without_figures_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "load.json").write_text(content)
    with pytest.raises(SettingsError, match="expected"):
        read_points(tmp_path / "load.json")


def test_a_line_goes_through_its_points() -> None:
    assert tuple(fit([(1, 3), (3, 7)])) == pytest.approx((1, 2))
    assert fit([(4, 8)]) == Line(0.0, 2.0)


def test_a_power_goes_through_its_points() -> None:
    assert tuple(grow([(1, 0.1), (16, 0.4)])) == pytest.approx((0.1, 0.5))
    assert tuple(grow([(4, 0.2)])) == pytest.approx((0.05, 1.0))
    assert grow([(1, 0.0), (4, 0.0)]).at(4) == pytest.approx(0.0, abs=1e-6)


def test_what_was_measured_comes_in_place_of_what_was_assumed(tmp_path: Path) -> None:
    quiet = [step(calls, listening=True, cores=0.03 * calls) for calls in (1, 10, 30)]
    loud = [step(calls, listening=False, cores=0.07 * calls, turns_per_sec=0.1 * calls) for calls in (1, 10, 30)]
    gateways = adopt(PLAN, read_points(saved(tmp_path, *quiet, *loud))).gateways
    assert gateways.session_cores + gateways.hearing_cores == pytest.approx(0.03)
    assert gateways.turn_core_sec + gateways.device_core_sec == pytest.approx(0.04 / 0.1, rel=0.03)
    assert gateways.base_mib == pytest.approx(500)
    assert gateways.session_mib == pytest.approx(2)


def test_the_middle_is_predicted_from_the_ends() -> None:
    points = [Point(sessions=sessions, cores=0.1 * sessions**0.6) for sessions in (1, 10, 30)]
    (found,) = predictions(points)
    assert (found.name, found.sessions) == ("cores, talking", 10)
    assert found.ratio == pytest.approx(1)
    assert predictions(points[:2]) == []


def test_a_file_is_judged_from_the_command_line(tmp_path: Path) -> None:
    import typer

    from deployments.plan.validate import main

    program = typer.Typer()
    program.command()(main)
    even = saved(tmp_path, *(step(calls, listening=True, cores=0.02 * calls) for calls in (1, 10, 30)))
    outcome = CliRunner().invoke(program, [str(even)])
    assert outcome.exit_code == 0, outcome.output
    assert "cores, listening" in outcome.output
    costs = {1: 0.02, 10: 0.1, 30: 0.6}
    uneven = saved(tmp_path, *(step(calls, listening=True, cores=cores) for calls, cores in costs.items()))
    assert CliRunner().invoke(program, [str(uneven)]).exit_code == 1
    few = saved(tmp_path, step(1, listening=True, cores=0.1))
    assert "at least three steps" in CliRunner().invoke(program, [str(few)]).output
