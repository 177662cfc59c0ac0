"""What a server takes while it is called: by ``/proc`` where its process is known, and by what it says of itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, Final

import httpx

from edge_client.caller.signalling import calls_url, trust
from edge_client.load.socket_caller import HTTP_SCHEMES
from edge_client.process_figures import family_figures

logger = logging.getLogger(__name__)

STATISTICS: Final = "/v1/statistics"
ANSWER_SEC: Final = 5.0
NOT_TOLD: Final = (401, 403, 404, 405)  # this server will not say, however often it is asked


class ServerWatch:
    """Asks for figures when it is told to. Made by `watching`.

    Args:
        pid: the server's process, where it runs on this machine
    """

    def __init__(self, client: httpx.AsyncClient, *, pid: int | None) -> None:
        self._client = client
        self._pid = pid
        self._tells = True
        self._known = frozenset[str]()

    def is_whole(self, figures: Mapping[str, float]) -> bool:
        """Whether all are there that were ever told: a server may be too busy to answer."""
        return self._known <= figures.keys()

    async def look(self, *, sweep: bool = False) -> dict[str, float]:
        """The figures by their names, see `edge_client.load.record.Sample`; those that nobody tells are missing.

        With ``sweep`` an Antiphon edge is asked to let its garbage collector run before, which holds it up a little.
        """
        told = await self._asked(sweep=sweep) if self._tells else {}
        figures = told | await asyncio.to_thread(self._seen)
        self._known |= figures.keys()
        return figures

    def _seen(self) -> dict[str, float]:
        figures = family_figures(self._pid) if self._pid is not None else None
        return asdict(figures) if figures else {}

    async def _asked(self, *, sweep: bool) -> dict[str, float]:
        try:
            answer = await self._client.get(STATISTICS, params={"sweep": "true"} if sweep else None)
            self._tells = answer.status_code not in NOT_TOLD
            return read_statistics(answer.json()) if answer.is_success else {}
        except (httpx.HTTPError, ValueError) as fault:  # it may be overloaded, or gone: that shows in the calls
            logger.info("the server does not tell how it is doing: %r", fault)
            return {}


def read_statistics(told: Mapping[str, Any]) -> dict[str, float]:
    """The figures in what an Antiphon edge tells of itself."""
    match told:
        case {"silent_workers": [_, *_]}:
            return {}  # sums without theirs are not the edge's
        case {"sessions": int(sessions)}:
            process = told.get("process")
            figures = {"sessions": float(sessions)} | (_numbers(process) if isinstance(process, Mapping) else {})
        case _:
            return {}
    if "cpu_ms" in figures:
        figures["cpu_sec"] = figures.pop("cpu_ms") / 1000
    match told:
        case {"loop_lag_ms": {"p99": int() | float() as lag_ms}}:
            figures["loop_lag_ms"] = float(lag_ms)
    return figures


def _numbers(fields: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in fields.items() if isinstance(value, int | float)}


@asynccontextmanager
async def watching(url: str, *, key: str | None, pid: int | None) -> AsyncIterator[ServerWatch]:
    """A watch over the server at ``url``."""
    scheme, divider, rest = url.partition("://")
    base = calls_url(HTTP_SCHEMES.get(scheme, scheme) + divider + rest).partition("/v1/")[0]
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(
        base_url=base, timeout=ANSWER_SEC, headers=headers, trust_env=False, verify=await trust(base)
    ) as client:
        yield ServerWatch(client, pid=pid)
