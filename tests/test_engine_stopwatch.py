"""What is timed is the work, wherever it is done."""

from __future__ import annotations

import pytest
import torch

from deployments.engine.stopwatch import Stopwatch

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_longer_work_takes_longer(device: str) -> None:
    def seconds(size: int) -> float:
        matrix = torch.ones(size, size, device=device)
        watch = Stopwatch(torch.device(device))
        torch.mm(matrix, matrix)
        watch.stop()
        return watch.seconds()

    seconds(8)  # loads what the first product needs
    assert 0 <= seconds(8) < seconds(1500)


def test_a_watch_that_runs_tells_nothing() -> None:
    with pytest.raises(ValueError, match="still runs"):
        Stopwatch(torch.device("cpu")).seconds()
