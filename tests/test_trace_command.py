"""`antiphon trace`, as a person and as a program use it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from edge_client.cli import app
from routing.telemetry import names
from tests.jaeger_format import checked
from tests.trace_files import Programs, TurnWriter, write_turns


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_turns(tmp_path_factory.mktemp("traces"))


def trace(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["trace", *map(str, arguments)])


@pytest.mark.parametrize("command", ["show", "summary", "export", "diff"])
def test_each_command_teaches_by_examples(command: str) -> None:
    output = trace(command, "--help").output
    assert "Examples:" in output
    assert len(re.findall(rf"antiphon trace {command}", output)) >= 2


def test_show_tells_the_last_turn_or_the_one_that_is_asked_for(folder: Path) -> None:
    assert "Turn 4 of 4: turn-4" in trace("show", folder).output
    assert "no V2V: typed, dropped or unanswered" in trace("show", folder).output
    assert "Turn 2 of 4: turn-2" in trace("show", folder, "--turn", "turn-2").output


def test_show_tells_all_turns_or_one_trace(folder: Path) -> None:
    every = trace("show", folder, "--all", "--whole").output
    assert re.findall(r"Turn (\d) of 4", every) == ["1", "2", "3", "4"]
    trace_id = re.findall(r"trace ([0-9a-f]{32})", every)[0]
    assert f"Trace {trace_id}: 20 spans" in trace("show", folder, "--trace", trace_id[:12]).output


def test_summary_says_where_the_time_went(folder: Path) -> None:
    result = trace("summary", folder, "--expect", "95")
    assert result.exit_code == 0
    for part in ("all: 3 turns, in ms", "hedged: 1 turns", "waited for", "done ahead", "endpoint.wait", "unattributed"):
        assert part in result.output
    assert "Explained by named phases: at least 100.00% of V2V in every turn" in result.output


def test_too_little_explained_is_exit_code_1(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    turn = TurnWriter(programs, at=10.0)
    turn.write([turn.phase(names.ENDPOINT_WAIT, 0, 100), turn.phase(names.FIRST_PACKET, 190, 200)])
    turn.end()
    programs.close()
    result = trace("summary", tmp_path, "--expect", "95")
    assert result.exit_code == 1
    assert "least explained: turn 1 (turn-1): 55.00%, 90.0 of 200.0 ms unattributed" in result.output
    assert result.stderr == (
        "antiphon: expected 95 % of V2V to be explained, got 55.00% in turn turn-1 (1 of 1 turns fall short)\n"
    )
    assert trace("summary", tmp_path, "--expect", "50").exit_code == 0


def test_nothing_to_explain_is_no_success(folder: Path) -> None:
    result = trace("summary", folder / f"{names.REPLICA}.jsonl", "--expect", "95")
    assert result.exit_code == 1
    assert "got no turn with V2V" in result.stderr


def test_json_alone_goes_to_standard_output(folder: Path) -> None:
    summary = json.loads(trace("summary", folder, "--json", "-").stdout)
    assert summary["groups"][0]["phases"]["endpoint.wait"]["turns"] == 3
    assert [turn["target"] for turn in summary["turns"]] == ["device", "cloud", "device"]
    difference = json.loads(trace("diff", folder, folder, "--json", "-").stdout)
    assert difference["rows"][0]["p50"]["difference"] == 0


def test_export_is_what_jaeger_takes(folder: Path, tmp_path: Path) -> None:
    result = trace("export", "--jaeger", folder, "-o", tmp_path / "traces.json")
    assert result.exit_code == 0
    assert "6 traces in" in result.output
    assert len(checked((tmp_path / "traces.json").read_text()).data) == 6
    alone = json.loads(trace("export", folder, "--turn", "1", "-o", "-").stdout)
    assert [len(each["spans"]) for each in alone["data"]] == [20]
    assert [path.name for path in tmp_path.iterdir()] == ["traces.json"]


def test_diff_sets_two_runs_side_by_side(folder: Path) -> None:
    output = trace("diff", folder, folder).output
    for part in ("3 turns before, 3 after; 1 and 1 more without V2V", "p50, in ms", "p95, in ms", "bootstrap"):
        assert part in output


@pytest.mark.parametrize("command", [["show"], ["summary"], ["export", "-o", "-"]])
def test_a_foreign_file_is_one_plain_line(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "placements.jsonl").write_text('{"format": "antiphon.placement.1"}\n{}\n')
    result = trace(*command, tmp_path / "placements.jsonl")
    assert result.exit_code == 1
    assert result.stderr == (
        f"antiphon: {tmp_path / 'placements.jsonl'}: line 1: expected an export of spans, an object with "
        "resourceSpans, got an object of 'format' (--lenient skips such lines)\n"
    )


def test_what_was_left_out_is_mentioned(tmp_path: Path) -> None:
    write_turns(tmp_path)
    edge = tmp_path / f"{names.EDGE}.jsonl"
    edge.write_bytes(b"damaged\n" + edge.read_bytes() + b'{"torn')
    output = trace("summary", edge, "--lenient").output
    assert "1 lines are no spans, and were left out" in output
    assert "a last line is not whole" in output


@pytest.mark.parametrize("place", ["/nowhere/report.json", "/dev/null/report.json"])
def test_what_cannot_be_written_is_told(folder: Path, place: str) -> None:
    result = trace("export", folder, "-o", place)
    assert result.exit_code == 1
    assert f"cannot write {place}: No" in result.stderr.replace("Not a", "No")
