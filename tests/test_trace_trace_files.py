"""Which files are meant by paths, folders and patterns."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_client.trace.otlp import TraceFileError
from edge_client.trace.trace_files import TraceFile, find_files


def test_a_file_comes_after_the_one_that_was_moved_aside(tmp_path: Path) -> None:
    for name in ("edge.log", "edge.log.1"):
        (tmp_path / name).touch()
    assert find_files([tmp_path / "edge.log"]) == (
        TraceFile(tmp_path / "edge.log.1"),
        TraceFile(tmp_path / "edge.log"),
    )


def test_folders_and_patterns_give_each_file_once(tmp_path: Path) -> None:
    (tmp_path / "cloud").mkdir()
    paths = [tmp_path / "cloud" / "replica.jsonl", tmp_path / "edge.jsonl.1", tmp_path / "edge.jsonl"]
    for path in (*paths, tmp_path / "notes.txt"):
        path.touch()
    found = find_files([tmp_path, f"{tmp_path}/e*.jsonl"])
    assert found == tuple(TraceFile(path, named=False) for path in paths)


@pytest.mark.parametrize("path", ["", "missing.jsonl", "*.jsonl"])
def test_nothing_is_told(tmp_path: Path, path: str) -> None:
    with pytest.raises(TraceFileError, match="expected a file of traces"):
        find_files([tmp_path / path])
