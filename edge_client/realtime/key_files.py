"""Keys in files: read at the start, and again whenever somebody has changed them.

Kubernetes keeps a mounted secret up to date by swapping a symbolic link, editors by renaming: so a file is known by its
path, and what was read by its content.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from edge_client.realtime.keys import KeyRing
from edge_client.realtime.used_ids import UsedIds, UsedInFolder, UsedInMemory
from edge_client.settings import EdgeSettings
from edge_client.workers.crew import Crew
from routing.errors import SettingsError

logger = logging.getLogger(__name__)

LOOK_SEC = 2.0
SWEEP_SEC = 60.0
MAXIMUM_FILE_BYTES = 1024 * 1024
SHORTEST_SIGNING_KEY = 32  # characters: half as many bytes of chance where they are hexadecimal digits
NEW_KEY_BYTES = 32

_KEY = re.compile(r"[\x21-\x7e]+")


def first_ring(settings: EdgeSettings, crew: Crew | None) -> KeyRing:
    """A ring without what is in files."""
    return KeyRing(
        settings.api_keys,
        signing_keys=(crew.signing_key if crew else secrets.token_bytes(NEW_KEY_BYTES),),
        is_open=settings.development,
        used=_used(crew),
    )


def open_ring(settings: EdgeSettings, crew: Crew | None) -> KeyRing:
    """A ring with all keys. Reads files.

    Raises:
        SettingsError: a file cannot be read, or there is no good key in it.
    """
    ring = first_ring(settings, crew)
    for file in _files(ring, settings):
        file.take(file.read())
    return ring


def _used(crew: Crew | None) -> UsedIds:
    return UsedInFolder(crew.siblings.folder) if crew else UsedInMemory()


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
        try:
            with self._path.open("rb") as file:
                lines = file.read(MAXIMUM_FILE_BYTES).decode("ascii").splitlines()
        except OSError as error:
            raise SettingsError(f"{self._path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise SettingsError(f"{self._path}: expected ASCII characters, got others") from None
        keys = tuple(self._key(line.strip(), number) for number, line in enumerate(lines, 1) if _tells(line))
        if not keys:
            raise SettingsError(f"{self._path}: expected at least one key, got none")
        return keys

    def _key(self, line: str, number: int) -> str:
        if not _KEY.fullmatch(line) or len(line) < self._shortest:
            wanted = f"a key of visible characters, at least {self._shortest}"
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


def _tells(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("#")


def _files(ring: KeyRing, settings: EdgeSettings) -> list[KeyFile]:
    def take_api_keys(keys: tuple[str, ...]) -> None:
        ring.renew(api_keys=(*settings.api_keys, *map(SecretStr, keys)))

    def take_signing_keys(keys: tuple[str, ...]) -> None:
        ring.renew(signing_keys=[key.encode() for key in keys])

    api_keys = [KeyFile(path, take_api_keys) for path in [settings.api_keys_file] if path]
    signing_keys = [
        KeyFile(path, take_signing_keys, shortest=SHORTEST_SIGNING_KEY) for path in [settings.signing_keys_file] if path
    ]
    return api_keys + signing_keys


async def keep_keys(ring: KeyRing, settings: EdgeSettings) -> None:
    """Follow what is in the files, and forget what has expired, until cancelled."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_follow(_files(ring, settings)))
        tasks.create_task(_sweep(ring.used))


async def _follow(files: list[KeyFile]) -> None:
    while files:
        for file in files:
            await file.look()
        await asyncio.sleep(LOOK_SEC)


async def _sweep(used: UsedIds) -> None:
    while True:
        await asyncio.sleep(SWEEP_SEC)
        await asyncio.to_thread(used.sweep, time.time())
