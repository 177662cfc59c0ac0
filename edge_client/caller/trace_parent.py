"""The trace that a call belongs to, as the headers of its offer."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from routing.telemetry.carrier import CARRIED, plain_carrier
from routing.telemetry.phase import Carrier


def trace_headers(environment: Mapping[str, str]) -> Carrier:
    """What ``TRACEPARENT`` and ``TRACESTATE`` say, as build systems set them; else a trace of the call's own."""
    given = {name: environment.get(name.upper()) for name in CARRIED}
    return plain_carrier(given) or {"traceparent": new_traceparent()}


def new_traceparent() -> str:
    """A sampled trace that nobody can guess; `random` would repeat itself where somebody has seeded it."""
    return f"00-{_id(16)}-{_id(8)}-01"


def _id(size: int) -> str:
    while not any(drawn := secrets.token_bytes(size)):  # all zeros mean that there is none
        pass
    return drawn.hex()
