"""Where traces are kept by default."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_client.trace_file import default_file, kept
from routing.telemetry.settings import TelemetrySettings


def test_an_edge_keeps_its_traces_where_programs_keep_their_state(tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    assert kept(TelemetrySettings(), environment).file == str(default_file(environment))
    assert default_file(environment).is_file()


@pytest.mark.parametrize("file", ["", "mine.jsonl"])
def test_what_an_operator_says_stays(tmp_path: Path, file: str) -> None:
    settings = TelemetrySettings(file=file)
    assert kept(settings, {"XDG_STATE_HOME": str(tmp_path)}) is settings
    assert not any(tmp_path.iterdir())


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    assert kept(TelemetrySettings(), {"XDG_STATE_HOME": str(tmp_path / "file")}).file == ""
    assert "traces are not kept" in caplog.text
