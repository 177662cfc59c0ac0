"""Keys that nobody, too many, or whoever guesses can read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_client.doctor.finding import Finding
from edge_client.doctor.keys import look_at_keys
from edge_client.settings import EdgeSettings

KEY = "0123456789abcdef0123456789abcdef"


def look(file: Path) -> Finding:
    [found] = look_at_keys(EdgeSettings(api_keys_file=file))
    return found


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "keys"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_keys_that_are_well_kept_are_counted_and_not_shown(tmp_path: Path) -> None:
    found = look(written(tmp_path, f"{KEY}\n\n{KEY[::-1]}\n"))
    assert found.verdict == "ok"
    assert found.found.startswith("2 in ")
    assert KEY not in found.line


@pytest.mark.skipif(os.name != "posix", reason="there are no such rights on this system")
def test_a_file_that_everybody_reads_is_warned_of(tmp_path: Path) -> None:
    found = look(written(tmp_path, KEY, 0o644))
    assert (found.verdict, found.about) == ("warning", "API keys' file")
    assert "chmod o-rwx" in found.advice


@pytest.mark.parametrize(
    ("text", "verdict", "told"),
    [("", "fault", "got none"), ("\n \n", "fault", "got none"), ("short\n", "warning", "1 of 1")],
)
def test_no_keys_and_short_ones_are_told(tmp_path: Path, text: str, verdict: str, told: str) -> None:
    found = look(written(tmp_path, text))
    assert found.verdict == verdict
    assert told in found.found


def test_a_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    found = look(tmp_path / "nowhere")
    assert (found.verdict, "No such file" in found.found) == ("fault", True)


def test_short_keys_in_the_settings_are_told_without_being_shown() -> None:
    [found] = look_at_keys(EdgeSettings(api_keys=("hunter22",)))  # type: ignore[arg-type]
    assert found.verdict == "warning"
    assert "hunter22" not in found.line


def test_where_there_are_none_nothing_is_said() -> None:
    assert look_at_keys(EdgeSettings()) == []
