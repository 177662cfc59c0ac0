"""Lets one process at a time work on a folder."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_NAME = ".pull.lock"  # not ".lock": uv locks that one in the folder it installs into
RETRY_SEC = 0.1


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Wait for the lock of ``folder`` and hold it. The system frees it when a process dies."""
    with (folder / LOCK_NAME).open("a+b") as file:
        while not _try_lock(file.fileno()):
            time.sleep(RETRY_SEC)
        yield  # closing the file frees the lock


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
