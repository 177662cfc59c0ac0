"""A trace context as strangers send it: nothing travels on but what W3C Trace Context allows."""

from __future__ import annotations

import re
from collections.abc import Mapping

from routing.telemetry.phase import Carrier

CARRIED = ("traceparent", "tracestate")  # whatever else headers hold is no trace context
LONGEST_TRACESTATE = 512  # characters: as many as everybody must pass on
MOST_MEMBERS = 32

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_KEY = r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
_MEMBER = re.compile(_KEY + r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")


def plain_carrier(given: Mapping[str, object]) -> Carrier:
    """What may travel on of headers, or of a message: empty without a trace, and never anything but trace context."""
    parent, state = given.get("traceparent"), given.get("tracestate")
    if not (isinstance(parent, str) and is_traceparent(parent)):
        return {}
    if not (state and isinstance(state, str) and is_tracestate(state)):
        return {"traceparent": parent}
    return {"traceparent": parent, "tracestate": state}


def is_traceparent(text: str) -> bool:
    """Whether it is version, trace id, span id and flags, in lower-case hexadecimal; no id is all zeros."""
    return bool(_TRACEPARENT.fullmatch(text))


def is_tracestate(text: str) -> bool:
    """Whether it is a list of ``key=value`` members; some may be empty."""
    if len(text) > LONGEST_TRACESTATE or text.count(",") >= MOST_MEMBERS:
        return False
    members = [member.strip(" \t") for member in text.split(",")]
    return all(_MEMBER.fullmatch(member) for member in members if member)
