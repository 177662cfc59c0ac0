"""An edge, asked from outside: is it there, may it be sent callers, does it show its page and give client secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx

from edge_client.doctor.finding import Finding, fault, ok, skipped, warning
from edge_client.doctor.web import Answered, asked, edge_of, why

SECRET_SEC = 30  # how long the client secret that is asked for would live
UNREACHABLE = "Start it (antiphon edge), correct the address, or open the way to it through proxies and firewalls."
READINESS = {
    "starting": "It still loads: wait a little, and ask again.",
    "full": "All places are taken: raise maximum_sessions, or add another edge.",
    "leaving": "It ends: another one should take its callers.",
    "draining": "It sends its callers on and ends then: another one should take them.",
}


async def is_an_edge(url: str) -> bool:
    """Whether what listens at ``url`` on this machine is an edge."""
    try:
        answered = await asked(f"{url}/healthz", trusted=False)
    except (httpx.HTTPError, OSError):
        return False
    return _is_health(answered)


async def probes(url: str) -> list[Finding]:
    """What an edge on this machine says of itself."""
    answered = await asked(f"{url}/readyz", trusted=False)
    return [_readiness(answered)]


async def look_at_edge(url: str, *, key: str | None) -> list[Finding]:
    """An edge anywhere, as callers find it; with a ``key`` where it asks for one."""
    base = edge_of(url)
    try:
        health = await asked(f"{base}/healthz")
    except (httpx.HTTPError, OSError, ValueError) as error:
        return [fault("edge", why(error), expected=f"an edge at {base}", advice=_advice(error))]
    if not _is_health(health):
        return [_foreign(base, health)]
    edge = ok("edge", f"{_told(health).get('sessions')} sessions at {base}")
    try:
        ready, page, secret = (
            await asked(f"{base}/readyz"),
            await asked(base),
            await asked(
                f"{base}/v1/realtime/client_secrets",
                method="POST",
                key=key,
                json={"expires_after": {"anchor": "created_at", "seconds": SECRET_SEC}},
            ),
        )
    except (httpx.HTTPError, OSError) as error:
        return [edge, _silent(error)]
    return [edge, *_judged(ready, page, secret, key)]


def _silent(error: Exception) -> Finding:
    return fault(
        "edge",
        f"it answers /healthz, and then: {why(error)}",
        expected="an answer to all that callers ask for",
        advice="It has too much to do, has just ended, or a proxy in between holds something back: its log says which.",
    )


def _advice(error: Exception) -> str:
    if "certificate" in str(error).lower():
        return (
            "Its certificate is not trusted here: call it by the name in it, and name the authority that signed it in"
            " SSL_CERT_FILE, unless it is one that everybody knows."
        )
    return UNREACHABLE


def _is_health(answered: Answered) -> bool:
    told = _told(answered)
    return answered.status == httpx.codes.OK and told.get("status") == "ok" and "sessions" in told


def _told(answered: Answered) -> dict[str, Any]:
    try:
        told = json.loads(answered.body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _foreign(base: str, answered: Answered) -> Finding:
    return fault(
        "edge",
        f"something else, which answers /healthz with {answered.status}",
        expected=f"an edge at {base}",
        advice="Correct the address, or have the proxy in between pass every path on to the edge.",
    )


def _judged(ready: Answered, page: Answered, secret: Answered, key: str | None) -> Iterator[Finding]:
    yield _readiness(ready)
    yield _page(page)
    yield _secret(secret, key)


def _readiness(answered: Answered) -> Finding:
    status = str(_told(answered).get("status", answered.status))
    if answered.status == httpx.codes.OK:
        return ok("readiness", "it takes callers")
    advice = READINESS.get(status, "Its log says why it takes no callers.")
    return fault("readiness", status, expected="an edge that takes callers", advice=advice)


def _page(answered: Answered) -> Finding:
    if answered.status == httpx.codes.OK and b"<html" in answered.body.lower():
        return ok("page", "it is shown")
    return warning(
        "page",
        f"HTTP {answered.status}",
        expected="the page at /",
        advice="Have the proxy in front pass / on, unless nobody is to call from a browser.",
    )


def _secret(answered: Answered, key: str | None) -> Finding:
    about = "client secret"
    match answered.status:
        case 200 | 201:
            return ok(about, "it gives one")
        case 401 | 403 if key is None:
            return skipped(about, "it asks for a key", advice="Give one of its API keys: --key")
        case 401 | 403:
            advice = "Give one of the edge's own API keys: it has others, or they were changed."
            return fault(about, f"HTTP {answered.status}", expected="that our key is taken", advice=advice)
        case 429:
            advice = "This address or key has asked too often: wait, or raise limits.requests_per_minute."
            return warning(about, "HTTP 429", expected="a client secret", advice=advice)
    advice = "Without client secrets browsers elsewhere cannot call: its log says why."
    return fault(about, f"HTTP {answered.status}", expected="a client secret", advice=advice)
