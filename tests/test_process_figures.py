"""What processes take, by their own doings."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading

import pytest

from edge_client.process_figures import PROCESSES, ProcessFigures, family, family_figures, own_figures

pytestmark = pytest.mark.skipif(not PROCESSES.joinpath("self/stat").exists(), reason="this system has no /proc")


def test_a_process_sees_its_own_sockets_files_and_threads() -> None:
    gc.collect()  # nothing that another test has left is closed in between
    before, leave = own_figures(), threading.Event()
    waiting = threading.Thread(target=leave.wait)
    with socket.socket(), open(os.devnull) as _:  # noqa: PTH123 any file will do
        waiting.start()
        during = own_figures()
        leave.set()
        waiting.join()
    assert before is not None
    assert during is not None
    assert (during.files - before.files, during.sockets - before.sockets) == (2, 1)
    assert during.threads == before.threads + 1
    assert during.resident_bytes > 1_000_000
    assert during.cpu_sec >= before.cpu_sec > 0


def test_a_family_is_a_process_and_those_that_it_has_started() -> None:
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        members, together = list(family(parent.pid)), family_figures(parent.pid)
        parent.communicate(b"\n")
    assert members[0] == parent.pid
    assert len(members) == 2
    assert together is not None
    assert together.threads == 2
    assert family_figures(parent.pid) is None


def test_figures_of_several_are_added_up() -> None:
    one = ProcessFigures(cpu_sec=0.5, resident_bytes=10, threads=1, files=3, sockets=2)
    assert one + one == ProcessFigures(cpu_sec=1.0, resident_bytes=20, threads=2, files=6, sockets=4)
