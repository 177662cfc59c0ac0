"""The server of the OpenAI Realtime protocol that may answer turns: whether it is there and takes our key."""

from __future__ import annotations

import asyncio
import time

from edge_client.doctor.finding import Finding, fault, ok, skipped
from edge_client.upstream.backend import server_of
from edge_client.upstream.line import Line
from edge_client.upstream.settings import UpstreamSettings
from routing.errors import AtCapacity, BackendError
from routing.own_tasks import own_tasks

ABOUT = "upstream"
GREETING_SEC = 5.0


async def look_at_upstream(settings: UpstreamSettings) -> list[Finding]:
    """Open a session, which is free, and leave before anything is said."""
    if not settings.url:
        return [skipped(ABOUT, "no server of another maker is set")]
    began = time.monotonic()
    try:
        greeting = await _greeting(settings)
    except BackendError as error:
        return [_judged(error)]
    if greeting != "session.created":
        return [_judged(BackendError(f"it began with {greeting!r}"))]
    return [ok(ABOUT, f"a session was opened in {(time.monotonic() - began) * 1000:.0f} ms")]


async def _greeting(settings: UpstreamSettings) -> str:
    server = await asyncio.to_thread(server_of, settings)
    async with own_tasks() as tasks:
        line = Line(server, headers={}, opening=(), tasks=tasks)
        try:
            async with asyncio.timeout(settings.connect_timeout_sec + GREETING_SEC):
                event = await line.receive()
        except TimeoutError:
            raise BackendError("it took the connection, and told nothing") from None
        finally:
            line.drop()
    return str(event.get("type"))


def _judged(error: BackendError) -> Finding:
    return fault(ABOUT, str(error), expected="a session of the server that is set", advice=_advice(error))


def _advice(error: BackendError) -> str:
    if "key" in str(error):
        return "Set upstream.key to a key that this server takes."
    if isinstance(error, AtCapacity):
        return "It is full, or your quota there is used up: ask again later."
    return "Correct upstream.url and upstream.model, and see that this machine may reach it."
