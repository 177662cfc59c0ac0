"""What processes take of their machine, as ``/proc`` tells it. Elsewhere, and of others' processes, nothing is told."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

PROCESSES: Final = Path("/proc")
TICKS_PER_SEC: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessFigures:
    """One process, or several together.

    Args:
        cpu_sec: processor time so far, user and system, on all cores together
        resident_bytes: memory; what processes share is counted for each
        files: open file descriptors, sockets among them
    """

    cpu_sec: float
    resident_bytes: int
    threads: int
    files: int
    sockets: int

    def __add__(self, other: ProcessFigures) -> ProcessFigures:
        cpu_sec, *counts = (one + more for one, more in zip(astuple(self), astuple(other), strict=True))
        resident_bytes, threads, files, sockets = map(int, counts)
        return ProcessFigures(
            cpu_sec=cpu_sec, resident_bytes=resident_bytes, threads=threads, files=files, sockets=sockets
        )


def own_figures() -> ProcessFigures | None:
    """Those of this process. Blocks for less than a millisecond; None where the system does not tell."""
    return _figures(PROCESSES / "self")


def family_figures(pid: int) -> ProcessFigures | None:
    """Those of a process and of all that it has started, together; None where it has ended, or is not ours to see."""
    told = [figures for each in family(pid) if (figures := _figures(PROCESSES / str(each)))]
    return sum(told[1:], told[0]) if told else None


def family(pid: int) -> Iterator[int]:
    """A process and its descendants that still have a living parent among them."""
    yield pid
    for child in _children(PROCESSES / str(pid) / "task"):
        yield from family(child)


def _children(tasks: Path) -> Iterable[int]:
    try:
        return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text("ascii").split()]
    except OSError:  # it has just ended
        return []


def _figures(folder: Path) -> ProcessFigures | None:
    try:
        status = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()  # the name may hold anything
        files, sockets = _files(folder / "fd")
    except OSError:
        return None
    user, system, threads, resident_pages = (int(status[index]) for index in (11, 12, 17, 21))
    return ProcessFigures(
        cpu_sec=(user + system) / TICKS_PER_SEC,
        resident_bytes=resident_pages * os.sysconf("SC_PAGE_SIZE"),
        threads=threads,
        files=files,
        sockets=sockets,
    )


def _files(folder: Path) -> tuple[int, int]:
    leads = [_lead(folder / name) for name in os.listdir(folder)]  # noqa: PTH208 names are all that is needed
    return sum(map(bool, leads)), sum(lead.startswith("socket:") for lead in leads)


def _lead(file: Path) -> str:
    try:
        return os.readlink(file)  # noqa: PTH115 it leads to no path
    except OSError:  # closed by now, as the one that listed the folder
        return ""
