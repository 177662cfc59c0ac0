"""Keys in a file: read at the start, and again whenever somebody has changed it.

Kubernetes keeps a mounted secret up to date by swapping a symbolic link, editors by renaming: so a file is known by its
path, and what was read by its content.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from pathlib import Path

from routing.errors import SettingsError

logger = logging.getLogger(__name__)

LOOK_SEC = 2.0
MAXIMUM_BYTES = 1024 * 1024

_KEY = re.compile(r"[\x21-\x7e]+")


class KeyFile:
    """A file with keys, one in a line, and who takes them. Empty lines and those that begin with # are left out."""

    def __init__(self, path: Path, take: Callable[[tuple[str, ...]], None], *, shortest: int = 1) -> None:
        self.take = take
        self._path = path
        self._shortest = shortest
        self._found: tuple[str, ...] | str = ()  # at the last look: keys, or what was wrong

    def read(self) -> tuple[str, ...]:
        """The keys in it, at least one.

        Raises:
            SettingsError: it cannot be read, or is not as it should be. What is in it is not told.
        """
        lines = self._text().splitlines()
        keys = tuple(self._key(line.strip(), number) for number, line in enumerate(lines, 1) if _tells(line))
        if not keys:
            raise SettingsError(f"{self._path}: expected at least one key, got none")
        return keys

    def _text(self) -> str:
        try:
            with self._path.open("rb") as file:
                content = file.read(MAXIMUM_BYTES + 1)
        except OSError as error:
            raise SettingsError(f"{self._path}: {error.strerror}") from None
        if len(content) > MAXIMUM_BYTES or not content.isascii():
            raise SettingsError(f"{self._path}: expected at most {MAXIMUM_BYTES} ASCII characters, got something else")
        return content.decode("ascii")

    def _key(self, line: str, number: int) -> str:
        if not _KEY.fullmatch(line) or len(line) < self._shortest:
            wanted = f"a key of at least {self._shortest} visible characters"
            raise SettingsError(f"{self._path}: expected {wanted}, got something else in line {number}")
        return line

    async def look(self) -> None:
        """Take what has changed. Where something is wrong with it, the keys before stay, and it is logged once."""
        try:
            found: tuple[str, ...] | str = await asyncio.to_thread(self.read)
        except SettingsError as fault:
            found = str(fault)
        if found == self._found:
            return
        self._found = found
        if isinstance(found, str):
            logger.error("%s; the keys before stay in use", found)
        else:
            self.take(found)
            logger.info("%s: %d keys are in use", self._path, len(found))

    async def follow(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SEC)


def _tells(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("#")
