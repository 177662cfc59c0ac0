"""A file of placements, read back: whole, torn, foreign."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_client.route.history import read_history
from routing.errors import InvalidRequest
from routing.record import RecordError, as_json_line
from tests.placements import record, write


def test_turns_come_back_in_their_order(tmp_path: Path) -> None:
    records = [record(turn_id=f"turn-{number}") for number in range(3)]
    history = read_history(write(tmp_path / "placements.jsonl", records))
    assert list(history.records) == records
    assert not history.torn


def test_a_last_line_that_is_half_written_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "placements.jsonl", [record()])
    path.write_text(path.read_text() + as_json_line(record())[:100])
    assert read_history(path).torn
    assert len(read_history(path).records) == 1


def test_a_last_line_that_only_lacks_its_end_counts(tmp_path: Path) -> None:
    path = tmp_path / "placements.jsonl"
    path.write_text(as_json_line(record()))
    assert read_history(path).records == (record(),)
    assert not read_history(path).torn


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "expected placements in .*, got an empty file"),
        (b"\n\n", "expected placements in .*, got an empty file"),
        (b"# Antiphon\n", "placements.jsonl: line 1: expected a JSON object, got b'# Antiphon"),
        (b"RIFF", "placements.jsonl: line 1: expected a JSON object, got b'RIFF'"),
        (b'{"resourceSpans": []}\n', "line 1: expected a record of the format antiphon.placement.1, got None"),
    ],
)
def test_a_foreign_file_is_told_apart(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "placements.jsonl"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=fault):
        read_history(path)


def test_a_fault_in_the_middle_names_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "placements.jsonl", [record(), record()])
    path.write_text(path.read_text().replace('"index":3', '"index":"three"', 1))
    with pytest.raises(RecordError, match=r"line 1: index: .*, got 'three'"):
        read_history(path)


@pytest.mark.parametrize(("name", "why"), [("nowhere", "No such file"), ("", "Is a directory")])
def test_what_cannot_be_read_is_told(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(RecordError, match=f"cannot read placements from .*: {why}"):
        read_history(tmp_path / name)


def test_a_turn_is_found_by_how_its_id_begins(tmp_path: Path) -> None:
    history = read_history(write(tmp_path / "p", [record(turn_id="turn_12"), record(turn_id="turn_1")]))
    assert history.find("turn_12").turn_id == "turn_12"
    assert history.find("turn_1").turn_id == "turn_1"  # this one exactly
    with pytest.raises(InvalidRequest, match="expected more of the id, for it fits turn_12, turn_1, got turn"):
        history.find("turn")
    with pytest.raises(InvalidRequest, match="the id of a turn in the file, such as turn_12, turn_1, got blue"):
        history.find("blue")
