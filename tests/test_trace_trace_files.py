"""Which files are meant by paths, folders and patterns."""

from __future__ import annotations

import os
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


def test_a_file_that_was_moved_aside_lies_beside_what_a_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    for name in ("edge.log", "edge.log.1"):
        (tmp_path / "disk" / name).touch()
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "edge.log")
    assert find_files([tmp_path / "link"]) == (
        TraceFile(tmp_path / "disk" / "edge.log.1"),
        TraceFile(tmp_path / "link"),
    )


def test_of_a_folder_only_files_are_taken(tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "edge.jsonl").touch()
    assert find_files([tmp_path]) == (TraceFile(tmp_path / "edge.jsonl", named=False),)


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
