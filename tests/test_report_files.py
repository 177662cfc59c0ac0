"""Reports as files, on a disk that does not take all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from routing.errors import SettingsError
from routing.report_files import write_reports


def never() -> str:
    raise AssertionError("nobody wants it")


def test_what_cannot_be_written_is_told_and_keeps_nothing_else_from_being_written(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"cannot write {tmp_path}: Is a directory$"):
        write_reports({tmp_path: lambda: "lost", tmp_path / "page.html": lambda: "kept"})
    assert (tmp_path / "page.html").read_text() == "kept"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_full_disk_is_told() -> None:
    with pytest.raises(SettingsError, match="cannot write /dev/full: No space left"):
        write_reports({Path("/dev/full"): lambda: "lost"})


def test_what_nobody_wants_is_not_made() -> None:
    write_reports({None: never})
