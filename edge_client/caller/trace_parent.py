"""The trace that a call belongs to, as the headers of its offer."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from edge_client.trace_context import is_traceparent, is_tracestate


def trace_headers(environment: Mapping[str, str]) -> dict[str, str]:
    """What ``TRACEPARENT`` and ``TRACESTATE`` say, as build systems set them; else a trace of the call's own."""
    parent = environment.get("TRACEPARENT", "")
    if not is_traceparent(parent):
        return {"traceparent": new_traceparent()}
    state = environment.get("TRACESTATE", "")
    return {"traceparent": parent} | ({"tracestate": state} if state and is_tracestate(state) else {})


def new_traceparent() -> str:
    """A sampled trace that nobody can guess; `random` would repeat itself where somebody has seeded it."""
    return f"00-{_id(16)}-{_id(8)}-01"


def _id(size: int) -> str:
    while not any(drawn := secrets.token_bytes(size)):  # all zeros mean that there is none
        pass
    return drawn.hex()
