"""What a caller takes along to another edge: the session itself, sealed, good once and not for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from edge_client.realtime.keys import KeyRing, Unauthorized
from edge_client.realtime.passage import Passage, pack, unpack

PURPOSE = "session ticket"
LIFETIME_SEC = 120.0
VOIDED = 8  # tickets before the one that was used: more are hardly written in their lifetime


class Ticket(NamedTuple):
    text: str
    expires_at: int  # Unix time


class Tickets:
    """Written with the signing keys, and read by every edge that shares them. Time is passed in, since 1970."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def write(self, passage: Passage, *, now: float) -> Ticket | None:
        """None for a session whose settings, or whose last turn, are longer than a ticket can be."""
        packed = pack(passage, now=now)
        if packed is None:
            return None
        text = self._keys.seal(packed, purpose=PURPOSE, now=now, lifetime_sec=LIFETIME_SEC)
        return Ticket(text, int(now + LIFETIME_SEC))

    def read(self, text: str, *, now: float) -> Passage:
        """The session that a ticket is for. Looking at it uses nothing up. A long one takes 10 ms: read it in a thread.

        Raises:
            Unauthorized: it is none of ours, was changed, or is too old.
            InvalidRequest: an edge of another version wrote it.
        """
        return unpack(self._keys.unseal(text, purpose=PURPOSE, now=now), now=now)

    @asynccontextmanager
    async def redeeming(self, passage: Passage) -> AsyncIterator[Callable[[], None]]:
        """A session goes on here in the block, which calls what it gets; where it fails the ticket is good again.

        Raises (where that is called):
            Unauthorized: the ticket was used up, by itself or by a later one.
            AtCapacity: more are in use than can be remembered.
        """
        redeemed = False

        def redeem() -> None:
            nonlocal redeemed
            now = time.time()
            self._use_up(passage, now)
            redeemed = True
            self._void_earlier(passage, now)

        try:
            yield redeem
        except BaseException:
            if redeemed:
                await asyncio.to_thread(self._keys.used.forget, _use_of(passage, passage.serial))
            raise

    def _use_up(self, passage: Passage, now: float) -> None:
        if not self._keys.once(_use_of(passage, passage.serial), until=now + LIFETIME_SEC, now=now):
            raise Unauthorized("expected a ticket that was not used, got one that was: begin a new session")

    def _void_earlier(self, passage: Passage, now: float) -> None:
        for serial in range(max(0, passage.serial - VOIDED), passage.serial):
            self._keys.once(_use_of(passage, serial), until=now + LIFETIME_SEC, now=now)


def _use_of(passage: Passage, serial: int) -> str:
    return f"ticket {serial} of {passage.session_id}"
