"""A worker that the system does not start. What befalls those that it starts is told with their supervisor."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest

from edge_client.settings import EdgeSettings
from edge_client.workers import worker_process as worker_processes
from edge_client.workers.orders import Orders
from edge_client.workers.worker_process import worker_process
from routing.errors import BackendUnavailable


async def test_a_process_that_cannot_be_made_is_told_as_a_worker_that_is_not_there(
    nothing_left_behind: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    orders = Orders(
        number=1, settings=EdgeSettings(), signing_key=b"", folder=tmp_path, listening=1, board=1, log_level=0
    )
    with pytest.raises(BackendUnavailable, match="worker 1 did not start"):
        async with worker_process(orders):
            pass


@pytest.fixture
def mute(tmp_path: Path) -> Path:
    """A program that starts and says nothing."""
    program = tmp_path / "mute"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o700)
    return program


async def test_a_worker_that_hangs_while_it_loads_is_given_up_and_ended(
    nothing_left_behind: None, monkeypatch: pytest.MonkeyPatch, mute: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(mute))
    monkeypatch.setattr(worker_processes, "SILENT_SEC", 0.05)
    with tempfile.TemporaryFile() as file:
        inherited = file.fileno()
        orders = Orders(
            number=1,
            settings=EdgeSettings(),
            signing_key=b"",
            folder=mute.parent,
            listening=inherited,
            board=inherited,
            log_level=0,
        )
        with pytest.raises(BackendUnavailable, match=r"worker 1 did not start: it has said nothing for 0\.05 s"):
            async with worker_process(orders) as worker:
                await worker.ready(lambda text: None)
    assert "was ended by SIGTERM" in await worker.ended()
