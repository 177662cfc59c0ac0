"""The trace that a call belongs to, as the headers of its offer."""

from __future__ import annotations

from collections.abc import Mapping

from routing.telemetry.carrier import CARRIED, plain_carrier
from routing.telemetry.phase import Carrier


def trace_headers(environment: Mapping[str, str]) -> Carrier:
    """What ``TRACEPARENT`` and ``TRACESTATE`` say, as build systems set them; nothing where there is no such trace."""
    return plain_carrier({name: environment.get(name.upper()) for name in CARRIED})
