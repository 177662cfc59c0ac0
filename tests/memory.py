"""How much memory and how many files a process has; Linux tells."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path


async def resident_bytes(process: int | None = None) -> int:
    """Resident memory of this process, or of another."""
    text = await asyncio.to_thread(Path(f"/proc/{process or os.getpid()}/status").read_text)
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmRSS:"))) * 1024


async def open_files(process: int) -> int:
    """Descriptors of a process: files and sockets."""
    return len(await asyncio.to_thread(os.listdir, f"/proc/{process}/fd"))
