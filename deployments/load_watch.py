"""How full all replicas are together, looked at only as often as somebody wants to know."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from routing.errors import BackendUnavailable
from routing.load import Load

logger = logging.getLogger(__name__)

NOBODY = Load(slots=0, in_use=0)
LOOKS_KEPT = 10  # an answer holds for so many looks that bring none


class LoadWatch:
    """Answers at once with what it knows, and looks again where that has become old.

    What is much older counts for nothing: where nobody looked for long, or nobody answers any more.
    """

    def __init__(self, ask: Callable[[], Awaitable[Sequence[Load]]], *, every_sec: float) -> None:
        self._ask = ask
        self._every_sec = every_sec
        self._known = NOBODY
        self._known_since = self._asked_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    async def now(self) -> Load:
        """What is known; waits only where nothing is."""
        now = asyncio.get_running_loop().time()
        if now >= self._known_since + LOOKS_KEPT * self._every_sec:
            self._known = NOBODY
        if self._asking is None and now >= self._asked_at + self._every_sec:
            self._asked_at = now
            self._asking = asyncio.create_task(self._look())
        if self._known is NOBODY and self._asking is not None:
            await asyncio.wait([self._asking])
        return self._known

    async def _look(self) -> None:
        try:
            self._known = together(await self._ask())
            self._known_since = asyncio.get_running_loop().time()
        except BackendUnavailable as error:
            logger.warning("it is not known how full the replicas are: %s", error)  # one of them may just have died
        finally:
            self._asking = None


def together(loads: Sequence[Load]) -> Load:
    """Several replicas as one. A new turn finds the shortest queue; of the times to first sound the worst is told."""
    if not loads:
        return NOBODY
    first_audio = [load.first_audio_p95_sec for load in loads if load.first_audio_p95_sec is not None]
    return Load(
        slots=sum(load.slots for load in loads),
        in_use=sum(load.in_use for load in loads),
        waiting=sum(load.waiting for load in loads),
        queue_wait_sec=min(load.queue_wait_sec for load in loads),
        first_audio_p95_sec=max(first_audio, default=None),
    )
