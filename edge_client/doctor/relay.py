"""TURN servers: whether each gives a relay for the secret that we share with it."""

from __future__ import annotations

import asyncio
import time

from aioice.stun import TransactionFailed

from edge_client.doctor.finding import Finding, fault, ok, skipped
from edge_client.webrtc.turn import TurnSettings, check_relay
from routing.errors import SettingsError

ABOUT = "TURN"
REFUSED_CODES = {401, 403, 441}  # the credentials, by RFC 8656; others are about quotas and what it can do
WRONG_SECRET = (
    "Make peer.turn.secret the server's static-auth-secret, and see that both clocks agree"
    " to within peer.turn.lifetime_sec."
)
UNREACHABLE = "See that it runs, that its address and transport are right, and that firewalls let them through."


async def look_at_relays(settings: TurnSettings) -> list[Finding]:
    """Ask each server for a relay, and give it back."""
    if not settings.urls:
        return [skipped(ABOUT, "no TURN server is set", advice="Callers behind strict firewalls would need one.")]
    return list(await asyncio.gather(*(_asked(settings, url) for url in settings.urls)))


async def _asked(settings: TurnSettings, url: str) -> Finding:
    try:
        address = await check_relay(settings.model_copy(update={"urls": (url,)}), now=time.time())
    except SettingsError as error:
        return _judged(url, error)
    return ok(ABOUT, f"{url} gives relays, such as {address}")


def _judged(url: str, error: SettingsError) -> Finding:
    cause = error.__cause__
    if not isinstance(cause, TransactionFailed):
        return fault(ABOUT, str(error), expected=f"an answer of {url}", advice=UNREACHABLE)
    code, _ = cause.response.attributes.get("ERROR-CODE", (0, ""))
    advice = WRONG_SECRET if code in REFUSED_CODES else "Its own log says why: most often its quota or its relay ports."
    return fault(ABOUT, f"{url} refuses: {cause}", expected="a relay for our credentials", advice=advice)
