"""What this process takes of its machine."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from routing.telemetry.instruments import Observer, Reading
from routing.telemetry.metrics import CPU_TIME, MEMORY

_STAT: Final = Path("/proc/self/stat")
_STARTED: Final = 19  # which of the fields behind the command's name tells when it was started
_STATM: Final = Path("/proc/self/statm")


def observe_process(instruments: Observer) -> None:
    """Count its processor time, and its memory where the system tells of it."""
    instruments.observe(CPU_TIME, lambda: [Reading(time.process_time())])
    instruments.observe(MEMORY, _memory)


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment in the life of this process.

    Args:
        boot_sec: since the machine was started; None where the system has no such clock
    """

    boot_sec: float | None

    @classmethod
    def now(cls) -> Moment:
        """This one."""
        clock = getattr(time, "CLOCK_BOOTTIME", None)
        return cls(None if clock is None else time.clock_gettime(clock))

    def since_start(self, stat: Path = _STAT) -> float | None:
        """Seconds since this process was started, to a hundredth; None where the system does not tell. Reads a file."""
        if self.boot_sec is None:
            return None
        try:
            ticks = int(stat.read_text("utf-8").rpartition(")")[2].split()[_STARTED])
        except (OSError, ValueError, IndexError):
            return None
        return max(self.boot_sec - ticks / os.sysconf("SC_CLK_TCK"), 0.0)


def _memory() -> list[Reading]:
    size = resident_bytes()
    return [] if size is None else [Reading(size)]


def resident_bytes(statm: Path = _STATM) -> int | None:
    """Resident memory; None where there is no ``/proc``."""
    try:
        pages = int(statm.read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
