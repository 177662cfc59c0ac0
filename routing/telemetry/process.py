"""What this process takes of its machine."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from routing.telemetry.instruments import Observer, Reading
from routing.telemetry.metrics import CPU_TIME, MEMORY

_STATM: Final = Path("/proc/self/statm")


def observe_process(instruments: Observer) -> None:
    """Count its processor time, and its memory where the system tells of it."""
    instruments.observe(CPU_TIME, lambda: [Reading(time.process_time())])
    instruments.observe(MEMORY, _memory)


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
