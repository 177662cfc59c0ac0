"""Ids that are good once: which of them have been used, among all workers of an edge."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Protocol

from routing.errors import AtCapacity

MAXIMUM_IDS = 100_000  # remembered at a time; above it nothing that is good once is taken, until some have expired
RETRY_SEC = 60
MARK = "used-"
DATING_SEC = 60.0  # far more than lies between the making of a file and its date


class UsedIds(Protocol):
    """Remembers ids until they would be refused anyway, because they have expired."""

    def once(self, identifier: str, *, until: float) -> bool:
        """Whether this is the first time that the id is seen. Takes microseconds.

        Raises:
            AtCapacity: there are too many to remember.
        """

    def forget(self, identifier: str) -> None:
        """It may be used once more. Call it in a thread: it may remove a file."""

    def sweep(self, now: float) -> None:
        """Forget the expired. Call it now and then, in a thread."""


class UsedInMemory:
    """For an edge that is one process."""

    def __init__(self, maximum: int = MAXIMUM_IDS) -> None:
        self._maximum = maximum
        self._until: dict[str, float] = {}

    def once(self, identifier: str, *, until: float) -> bool:
        if identifier in self._until:
            return False
        _expect_room(len(self._until), self._maximum)
        self._until[identifier] = until
        return True

    def forget(self, identifier: str) -> None:
        self._until.pop(identifier, None)

    def sweep(self, now: float) -> None:
        for identifier in [identifier for identifier, until in list(self._until.items()) if until <= now]:
            self.forget(identifier)


class UsedInFolder:
    """For several workers: an empty file for each id, which only one of them can make, dated when it expires.

    Made on the event loop: that takes 0.03 ms, 0.1 ms at p99, in a folder of 5,000.
    """

    def __init__(self, folder: Path, maximum: int = MAXIMUM_IDS) -> None:
        self._folder = folder
        self._maximum = maximum
        self._count = 0  # at the last sweep, and since then by this worker

    def once(self, identifier: str, *, until: float) -> bool:
        _expect_room(self._count, self._maximum)
        try:
            file = os.open(self._file(identifier), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            return False
        try:
            os.utime(file, (until, until))
        finally:
            os.close(file)
        self._count += 1
        return True

    def forget(self, identifier: str) -> None:
        self._file(identifier).unlink(missing_ok=True)

    def sweep(self, now: float) -> None:
        self._count = sum(not _swept(file, now) for file in self._folder.glob(f"{MARK}*"))

    def _file(self, identifier: str) -> Path:
        return self._folder / (MARK + hashlib.sha256(identifier.encode()).hexdigest()[:32])


def _swept(file: Path, now: float) -> bool:
    """Whether the file is gone. Another worker may be sweeping too."""
    try:
        expired = file.stat().st_mtime + DATING_SEC <= now
    except FileNotFoundError:
        return True
    if expired:
        file.unlink(missing_ok=True)
    return expired


def _expect_room(count: int, maximum: int) -> None:
    if count >= maximum:
        raise AtCapacity(
            f"expected fewer than {maximum} client secrets and tickets in use, got more", retry_after_sec=RETRY_SEC
        )
