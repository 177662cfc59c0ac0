"""The keys of an edge: from its settings, and from files that are followed."""

from __future__ import annotations

import asyncio
import secrets
import time

from pydantic import SecretStr

from edge_client.realtime.keys import KeyRing
from edge_client.realtime.used_ids import UsedIds, UsedInFolder, UsedInMemory
from edge_client.settings import EdgeSettings
from edge_client.workers.crew import Crew
from routing.key_file import KeyFile

SWEEP_SEC = 60.0
SHORTEST_SIGNING_KEY = 32  # characters: half as many bytes of chance where they are hexadecimal digits
NEW_KEY_BYTES = 32


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
        for file in _files(ring, settings):
            tasks.create_task(file.follow())
        tasks.create_task(_sweep(ring.used))


async def _sweep(used: UsedIds) -> None:
    while True:
        await asyncio.sleep(SWEEP_SEC)
        await asyncio.to_thread(used.sweep, time.time())
