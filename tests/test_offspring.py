"""All that a program has started can be found and ended, however far removed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from deployments.offspring import PROCESSES, Offspring

pytestmark = pytest.mark.skipif(not PROCESSES.exists(), reason="this system does not show what processes are told")

BEARS_ONE_AND_DIES = "setsid sleep 100 & echo born"


def test_one_whose_parent_is_gone_is_found_and_ended() -> None:
    offspring, strangers = Offspring(), Offspring()
    environment = {**os.environ, **offspring.mark}
    bearing = subprocess.run(["sh", "-c", BEARS_ONE_AND_DIES], env=environment, stdout=subprocess.DEVNULL, check=True)
    assert bearing.returncode == 0
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={**strangers.mark}) as stranger:
        assert len(list(offspring.pids())) == 1
        offspring.kill()
        assert not list(offspring.pids())
        assert list(strangers.pids()) == [stranger.pid]
        strangers.kill()
