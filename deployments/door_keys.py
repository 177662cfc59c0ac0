"""Who may come in: bearer tokens from the settings, and from a file that is followed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from hmac import compare_digest
from pathlib import Path

from pydantic import SecretStr

from routing.key_file import KeyFile


class DoorKeys:
    """Everybody comes in where there are neither keys nor a file. Nobody does while there is no key in the file.

    Only the SHA-256 of each key is kept.
    """

    def __init__(self, keys: Iterable[SecretStr], file: Path | None = None) -> None:
        self._given = tuple(_digest(key.get_secret_value()) for key in keys)
        self._known = self._given
        self._file = KeyFile(file, self._take) if file else None
        self.let_everybody_in = not self._given and file is None

    def open(self, authorization: str | None) -> bool:
        """Whether the header of a request opens the door. That takes as long whichever key it is."""
        scheme, _, token = (authorization or "").partition(" ")
        given = _digest(token)
        matches = [compare_digest(given, known) for known in self._known]
        return self.let_everybody_in or (scheme.lower() == "bearer" and bool(token) and any(matches))

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """The keys of the file count from now on, and what becomes of it, until the block ends."""
        if self._file is None:
            yield
            return
        await self._file.look()
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(self._file.follow())
            yield
            following.cancel()

    def _take(self, keys: tuple[str, ...]) -> None:
        self._known = self._given + tuple(map(_digest, keys))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
