"""TURN servers: whether each gives a relay for the secret that we share with it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import httpx
from aioice.stun import TransactionFailed

from edge_client.doctor.finding import Finding, fault, ok, skipped
from edge_client.doctor.web import asked, edge_of, why
from edge_client.webrtc.turn import OWN_NAME, Relays, TurnSettings, relays, relays_told, try_relay
from routing.errors import SettingsError

ABOUT = "TURN"
CALLERS = "TURN of callers"
REFUSED_CODES = {401, 403, 441}  # the credentials, by RFC 8656; others are about quotas and what it can do
WRONG_SECRET = (
    "Make peer.turn.secret the server's static-auth-secret, and see that both clocks agree"
    " to within peer.turn.lifetime_sec."
)
UNREACHABLE = "See that it runs, that its address and transport are right, and that firewalls let them through."


async def look_at_relays(settings: TurnSettings) -> list[Finding]:
    """Ask each server for a relay, and give it back."""
    told = relays(settings, name=OWN_NAME, now=time.time())
    if told is None:
        return [skipped(ABOUT, "no TURN server is set", advice="Callers behind strict firewalls would need one.")]
    return await _all_asked(ABOUT, told)


async def look_at_callers_relays(url: str, *, key: str | None) -> list[Finding]:
    """Ask an edge for the relays of its callers, and those for one, as a caller here would."""
    try:
        answered = await asked(f"{edge_of(url)}/v1/realtime/ice_servers", key=key)
    except (httpx.HTTPError, OSError, ValueError) as error:
        return [skipped(CALLERS, f"the edge cannot be asked: {why(error)}")]
    if answered.status != httpx.codes.OK:
        return [skipped(CALLERS, f"the edge tells of none: HTTP {answered.status}")]
    told = relays_told(answered.body)
    if told is None:
        return [skipped(CALLERS, "the edge has none for its callers")]
    return await _all_asked(CALLERS, told)


async def _all_asked(about: str, told: Relays) -> list[Finding]:
    return list(await asyncio.gather(*(_asked(about, replace(told, urls=(url,))) for url in told.urls)))


async def _asked(about: str, told: Relays) -> Finding:
    try:
        address = await try_relay(told)
    except SettingsError as error:
        return _judged(about, told.urls[0], error)
    return ok(about, f"{told.urls[0]} gives relays, such as {address}")


def _judged(about: str, url: str, error: SettingsError) -> Finding:
    cause = error.__cause__
    if not isinstance(cause, TransactionFailed):
        return fault(about, str(error), expected=f"an answer of {url}", advice=UNREACHABLE)
    code, _ = cause.response.attributes.get("ERROR-CODE", (0, ""))
    advice = WRONG_SECRET if code in REFUSED_CODES else "Its own log says why: most often its quota or its relay ports."
    return fault(about, f"{url} refuses: {cause}", expected="a relay for our credentials", advice=advice)
