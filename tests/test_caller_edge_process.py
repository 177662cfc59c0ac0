"""An edge in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_client.caller.edge_process import edge_process
from routing.errors import BackendUnavailable


async def test_an_edge_that_cannot_start_says_why(tmp_path: Path, nothing_left_behind: None) -> None:
    missing = str(tmp_path / "missing.yaml")
    with pytest.raises(BackendUnavailable, match=r"did not start:(.|\n)*missing\.yaml"):
        async with edge_process(arguments=("--config", missing)):
            raise AssertionError("started without its settings")
