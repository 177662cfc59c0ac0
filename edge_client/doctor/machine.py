"""What this machine, or the container on it, has for an edge: memory, cores, open files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_client.doctor.finding import Finding, fault, ok, warning
from edge_client.settings import EdgeSettings

CGROUP = Path("/sys/fs/cgroup")
MEBIBYTE = 1 << 20
GIBIBYTE = 1 << 30

WORKER_BYTES = 900 * MEBIBYTE  # with the device's models; see the memory of an edge in the README
TONE_WORKER_BYTES = 200 * MEBIBYTE
SESSION_BYTES = 10 * MEBIBYTE  # sockets, buffers, a conversation; on the safe side
WORKER_DESCRIPTORS = 100  # model files, logs, connections to clouds and collectors
SESSION_DESCRIPTORS = 8  # a UDP socket for each address of the machine, signalling, one connection per backend


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What there is. None is what the system does not tell."""

    memory_bytes: int | None  # of the machine, or of what a container may take of it
    cores: float
    descriptors: int | None  # that one process may open


def this_machine(cgroup: Path = CGROUP) -> Machine:
    """The one that this runs on. Reads files."""
    memory = [each for each in (_physical_bytes(), _cgroup_bytes(cgroup)) if each]
    cores = [each for each in (_usable_cores(), _cgroup_cores(cgroup)) if each]
    return Machine(memory_bytes=min(memory, default=None), cores=min(cores), descriptors=_descriptors())


def _physical_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return None


def _usable_cores() -> float:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def _descriptors() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def _cgroup_bytes(cgroup: Path) -> int | None:
    limit = _read(cgroup / "memory.max")
    return int(limit) if limit.isdecimal() else None


def _cgroup_cores(cgroup: Path) -> float | None:
    """Microseconds of processor time in a period of so many."""
    match _read(cgroup / "cpu.max").split():
        case [quota, period] if quota.isdecimal() and period.isdecimal() and int(period):
            return int(quota) / int(period)
    return None


def _read(file: Path) -> str:
    try:
        return file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


# -- is it enough ------------------------------------------------------------------------------------------------------


def look_at_machine(machine: Machine, settings: EdgeSettings) -> list[Finding]:
    """Whether it is enough for the sessions and the workers that the settings allow."""
    return [*_memory(machine, settings), _cores(machine, settings), *_files(machine, settings)]


def wanted_bytes(settings: EdgeSettings) -> int:
    """What an edge of these settings takes when all places are taken, by rule of thumb."""
    each = WORKER_BYTES if settings.engine == "device" else TONE_WORKER_BYTES
    return settings.workers * each + settings.maximum_sessions * SESSION_BYTES


def _memory(machine: Machine, settings: EdgeSettings) -> Iterator[Finding]:
    if machine.memory_bytes is None:
        return
    wanted, there = wanted_bytes(settings), machine.memory_bytes
    places = f"{_counted(settings.workers, 'worker')} and {_counted(settings.maximum_sessions, 'session')}"
    if there >= wanted:
        yield ok("memory", f"{there / GIBIBYTE:.1f} GiB; {places} want about {wanted / GIBIBYTE:.1f}")
        return
    yield fault(
        "memory",
        f"{there / GIBIBYTE:.1f} GiB",
        expected=f"about {wanted / GIBIBYTE:.1f} GiB for {places}",
        advice="Lower workers or maximum_sessions, or give this machine or container more memory.",
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _cores(machine: Machine, settings: EdgeSettings) -> Finding:
    found = f"{machine.cores:g} " + ("core" if machine.cores == 1 else "cores")
    if machine.cores < settings.workers:
        advice = "More workers than cores only take turns with each other: lower workers."
        return warning("cores", found, expected=f"one for each of {settings.workers} workers", advice=advice)
    if machine.cores < 2 and settings.engine == "device":
        advice = "On one core the models hold up the sound: give it another one, or answers come late."
        return warning("cores", found, expected="two or more for the device's models beside the sound", advice=advice)
    return ok("cores", found)


def _files(machine: Machine, settings: EdgeSettings) -> Iterator[Finding]:
    if machine.descriptors is None:
        return
    sessions = -(-settings.maximum_sessions // settings.workers)
    wanted = WORKER_DESCRIPTORS + sessions * SESSION_DESCRIPTORS
    if machine.descriptors >= wanted:
        yield ok("open files", f"{machine.descriptors} for each process; {sessions} sessions want about {wanted}")
        return
    yield fault(
        "open files",
        f"{machine.descriptors} for each process",
        expected=f"about {wanted} for {sessions} sessions of a worker",
        advice=f"Raise the limit before the edge starts: ulimit -n {wanted}, or LimitNOFILE={wanted} of its service.",
    )
