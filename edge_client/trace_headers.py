"""The trace that a turn belongs to, as headers of a request."""

from __future__ import annotations

import re

from routing.turns import Turn

CARRIED = ("traceparent", "tracestate")  # W3C Trace Context; whatever else a carrier holds stays here

_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,510}[\x21-\x7e])?")


def trace_headers(turn: Turn) -> dict[str, str]:
    """Those that there are. They came from a stranger, so what is no plain header stays here."""
    carried = {name: turn.trace_context.get(name, "") for name in CARRIED}
    return {name: value for name, value in carried.items() if _HEADER_VALUE.fullmatch(value)}
