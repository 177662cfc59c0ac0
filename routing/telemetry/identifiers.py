"""Ids of traces and spans that nobody can repeat, whatever seeds the random numbers of a program."""

from __future__ import annotations

import secrets

from opentelemetry.sdk.trace.id_generator import IdGenerator

TRACE_BITS = 128
SPAN_BITS = 64


class SecretIds(IdGenerator):
    """Drawn from the operating system: code that trains or tests models seeds `random`, and ids would come again."""

    def generate_span_id(self) -> int:
        return _drawn(SPAN_BITS)

    def generate_trace_id(self) -> int:
        return _drawn(TRACE_BITS)

    def is_trace_id_random(self) -> bool:
        """Samplers down the line may rely on it: the flag of W3C Trace Context, level 2."""
        return True


def _drawn(bits: int) -> int:
    """Not 0, which stands for no id."""
    while not (drawn := secrets.randbits(bits)):
        pass
    return drawn
