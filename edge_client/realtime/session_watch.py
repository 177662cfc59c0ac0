"""Ends a session that has lasted too long, or that nobody uses: the caller is told first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edge_client.realtime.session_clock import Farewell, SessionClock

FAREWELL_SEC = 1.0  # for the last event to arrive


async def watch_session(
    clock: SessionClock, *, tell: Callable[[Farewell], None], dismiss: Callable[[Farewell], None]
) -> None:
    """Look at the clock until it says that the session is over, or for as long as it may ever say so."""
    now = asyncio.get_running_loop().time
    while (look_again_at := clock.look_again_at(now())) is not None:
        if farewell := clock.farewell(now()):
            tell(farewell)
            await asyncio.sleep(FAREWELL_SEC)
            dismiss(farewell)
            return
        await asyncio.sleep(look_again_at - now())
