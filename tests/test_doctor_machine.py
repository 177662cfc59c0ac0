"""A machine, or a container on it, that is too small for what the settings allow."""

from __future__ import annotations

from pathlib import Path

from edge_client.doctor.finding import Verdict
from edge_client.doctor.machine import GIBIBYTE, Machine, look_at_machine, this_machine
from edge_client.settings import EdgeSettings


def verdicts(machine: Machine, settings: EdgeSettings) -> dict[str, Verdict]:
    return {found.about: found.verdict for found in look_at_machine(machine, settings)}


def test_a_laptop_is_enough_for_the_defaults() -> None:
    laptop = Machine(memory_bytes=8 * GIBIBYTE, cores=4, descriptors=1024)
    assert verdicts(laptop, EdgeSettings()) == {"memory": "ok", "cores": "ok", "open files": "ok"}


def test_many_sessions_ask_for_more_memory_and_more_files() -> None:
    settings = EdgeSettings(maximum_sessions=1000, workers=4)
    memory, cores, files = look_at_machine(Machine(memory_bytes=4 * GIBIBYTE, cores=2, descriptors=1024), settings)
    assert (memory.verdict, memory.expected) == ("fault", "about 13.3 GiB for 4 workers and 1000 sessions")
    assert (cores.verdict, cores.found) == ("warning", "2 cores")
    assert files.verdict == "fault"
    assert "ulimit -n 2100" in files.advice


def test_one_core_is_little_for_the_models_and_enough_for_a_tone() -> None:
    machine = Machine(memory_bytes=8 * GIBIBYTE, cores=1, descriptors=1024)
    assert verdicts(machine, EdgeSettings())["cores"] == "warning"
    assert verdicts(machine, EdgeSettings(engine="tone"))["cores"] == "ok"


def test_what_the_system_does_not_tell_is_not_judged() -> None:
    assert verdicts(Machine(memory_bytes=None, cores=2, descriptors=None), EdgeSettings()) == {"cores": "ok"}


def test_a_container_has_what_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1048576\n")
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    machine = this_machine(tmp_path)
    assert (machine.memory_bytes, machine.cores) == (1 << 20, 0.5)


def test_a_container_without_limits_has_the_whole_machine(tmp_path: Path) -> None:
    whole = this_machine(tmp_path / "none")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert this_machine(tmp_path) == whole
    assert whole.cores >= 1
