"""One thread does everything, in order, and is gone before the program is."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from deployments.engine.engine_thread import EngineThread

PROGRAM = """
from weakref import finalize
import torch
from deployments.engine.engine_thread import EngineThread
thread = EngineThread()
print(thread.do(lambda: torch.ones(300, 300).mm(torch.ones(300, 300)).sum().item()).result())
class Owner: pass
owner = Owner()
finalize(owner, thread.close)
"""


def test_what_is_given_is_done_in_order_on_one_thread_and_errors_are_told() -> None:
    thread = EngineThread()
    done: list[int] = []
    futures = [thread.do(lambda number=number: done.append(number)) for number in range(5)]  # type: ignore[misc]
    failing = thread.do(lambda: 1 / 0)
    names = {thread.do(lambda: threading.current_thread().name).result() for _ in range(3)}
    assert all(future.result() is None for future in futures)
    assert (done, names) == ([0, 1, 2, 3, 4], {"engine"})
    with pytest.raises(ZeroDivisionError):
        failing.result()
    thread.close()
    assert "engine" not in {one.name for one in threading.enumerate()}


def test_it_may_be_closed_by_itself_and_twice() -> None:
    thread = EngineThread()
    thread.do(thread.close).result()
    thread.close()


@pytest.mark.engine
def test_a_program_that_has_computed_on_it_ends_well() -> None:
    program = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (program.returncode, program.stdout) == (0, "27000000.0\n"), program.stderr
