"""How long a connection was in the making, and why there is none."""

from __future__ import annotations

import asyncio

from routing.errors import BackendError
from routing.telemetry.phase import Phase
from routing.track import why


class Connecting:
    """One attempt at a connection, begun when this is made."""

    def __init__(self) -> None:
        self._began = _now()
        self._ended: float | None = None
        self._fault: BackendError | None = None

    def done(self) -> None:
        """It is there."""
        self._ended = _now()

    def fail(self, fault: BackendError) -> None:
        """There is none. What breaks once it was there is the fault of whatever was done with it."""
        if self._ended is None:
            self._ended, self._fault = _now(), fault

    def phase(self, name: str) -> Phase:
        """Until now, where it is still in the making."""
        return Phase(
            name=name,
            begin=self._began,
            end=_now() if self._ended is None else self._ended,
            error=why(self._fault) if self._fault else None,
            kind="client",
        )


def _now() -> float:
    return asyncio.get_running_loop().time()
