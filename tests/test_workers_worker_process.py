"""A worker that the system does not start. What befalls those that it starts is told with their supervisor."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edge_client.settings import EdgeSettings
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
