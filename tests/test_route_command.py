"""`antiphon route explain` and `antiphon route replay`, as a person and as a program use them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from edge_client.cli import app
from routing.policy import Question
from tests.placements import TRACE_ID, record, write


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def placements(tmp_path: Path) -> Path:
    private = record(turn_id="turn-leaked", question=Question(speech_sec=1, stays_here=True, wants_knowledge=True))
    failed = record(turn_id="turn-failed", backend=None, first_sound_sec=None)
    return write(tmp_path / "placements.jsonl", [record(), private, failed])


def route(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["route", *map(str, arguments)])


@pytest.mark.parametrize("command", ["explain", "replay"])
def test_each_command_teaches_by_examples(command: str) -> None:
    output = route(command, "--help").output
    assert "Examples:" in output
    assert len(re.findall(rf"antiphon route {command}", output)) >= 2


def test_explain_shows_turns_sums_calibration_and_a_plot(placements: Path) -> None:
    result = route("explain", placements)
    assert result.exit_code == 0
    for part in (
        "worth waiting: cloud is better, 70% likely within 200 ms; cloud too late",
        "By backend, in ms",
        "By reason, in ms",
        "Calibration",
        "d device; · equal",
        "3 turns of 1 sessions under hedged: 2 told, 1 failed; 2 not by the one chosen first",
        "1 of 1 private ones LEFT THE DEVICE: turn-leaked",
    ):
        assert part in result.output


def test_explain_lists_the_last_turns_and_sums_all(placements: Path) -> None:
    output = route("explain", placements, "--last", "1").output
    assert "turn-failed" in output
    assert "turn-1" not in output
    assert "the last 1 of 3 turns" in output


def test_one_turn_is_told_in_full(placements: Path) -> None:
    output = route("explain", placements, "--turn", "turn-l").output
    for part in (
        "turn-leaked, turn 3 of session-1, over at 2027-01-15 08:00:00.250+00:00",
        "question: 1.0 s of speech, stays on the device, wants knowledge",
        "device: 40% busy, battery at 80%; asked 100 ms before the turn's end",
        "policy hedged: cloud until 200 ms after the turn's end, then device",
        "device spoke instead of cloud: too late",
        "private, and LEFT THE DEVICE for cloud",
        f"trace {TRACE_ID}",
    ):
        assert part in output


def test_json_alone_goes_to_standard_output(placements: Path) -> None:
    document = json.loads(route("explain", placements, "--json", "-").stdout)
    assert document["summary"]["leaks"] == ["turn-leaked"]
    assert [turn["backend"] for turn in document["turns"]] == ["device", "device", None]
    one = json.loads(route("explain", placements, "--turn", "turn-1", "--json", "-").stdout)
    assert one["trace_id"] == document["turns"][0]["trace_id"] == TRACE_ID
    assert one["prospects"][1]["traits"]["languages"] == ["de", "en"]
    assert one["left_the_device"] == ["cloud"]


def test_replay_sets_both_policies_side_by_side(placements: Path, tmp_path: Path) -> None:
    result = route("replay", placements, "--policy", "cloud", "--json", tmp_path / "replayed.json")
    assert "hedged (recorded)" in result.output
    assert "cloud (replayed)" in result.output
    assert "0 of 3 waits are estimated" in result.output
    document = json.loads((tmp_path / "replayed.json").read_text())
    assert [turn["replayed"]["backend"] for turn in document["turns"]] == ["cloud", "device", "cloud"]


def test_a_torn_line_is_mentioned(placements: Path) -> None:
    placements.write_text(placements.read_text() + '{"format":')
    assert "the last line is not whole" in route("explain", placements).output
    json.loads(route("explain", placements, "--json", "-").stdout)


@pytest.mark.parametrize("command", ["explain", "replay"])
def test_a_foreign_file_is_one_plain_line(tmp_path: Path, command: str) -> None:
    (tmp_path / "spans.jsonl").write_text('{"name": "turn"}\n')
    result = route(command, tmp_path / "spans.jsonl")
    assert result.exit_code == 1
    assert result.stderr == (
        f"antiphon: {tmp_path / 'spans.jsonl'}: line 1: "
        "expected a record of the format antiphon.placement.1, got None\n"
    )


def test_json_that_cannot_be_written_is_told(placements: Path) -> None:
    result = route("explain", placements, "--json", "/nowhere/report.json")
    assert result.exit_code == 1
    assert "cannot write /nowhere/report.json: No such file or directory" in result.stderr
