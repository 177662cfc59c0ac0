"""All that a program has started can be found and ended, however far removed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from deployments.offspring import PROCESSES, Offspring

pytestmark = pytest.mark.skipif(not PROCESSES.exists(), reason="this system does not show what processes are told")

LIVES = "import time; print('born', flush=True); time.sleep(100)"  # before it has begun, it may show no environment
BEARS_ONE_AND_DIES = ["sh", "-c", 'setsid "$0" -c "$1" &', sys.executable, LIVES]


def test_one_whose_parent_is_gone_is_found_and_ended() -> None:
    offspring, strangers = Offspring(), Offspring()
    environment = {**os.environ, **offspring.mark}
    with (
        subprocess.Popen(BEARS_ONE_AND_DIES, env=environment, stdout=subprocess.PIPE) as bearing,
        subprocess.Popen([sys.executable, "-c", LIVES], env={**strangers.mark}, stdout=subprocess.PIPE) as stranger,
    ):
        for parent in (bearing, stranger):
            assert parent.stdout is not None
            assert parent.stdout.readline() == b"born\n"
        assert bearing.wait() == 0
        assert len(list(offspring.pids())) == 1
        offspring.kill()
        assert not list(offspring.pids())
        assert list(strangers.pids()) == [stranger.pid]
        strangers.kill()
