"""A W3C trace context as strangers send it: whether it is well formed, checked before it travels on."""

from __future__ import annotations

import re

LONGEST_TRACESTATE = 512  # characters: as many as everybody must pass on
MOST_MEMBERS = 32

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_MEMBER = re.compile(r"[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")


def is_traceparent(text: str) -> bool:
    """Whether it is version, trace id, span id and flags, in lower-case hexadecimal; no id is all zeros."""
    return bool(_TRACEPARENT.fullmatch(text))


def is_tracestate(text: str) -> bool:
    """Whether it is a list of ``key=value`` members; some may be empty."""
    members = [member.strip(" \t") for member in text.split(",")]
    short = len(text) <= LONGEST_TRACESTATE and len(members) <= MOST_MEMBERS
    return short and all(_MEMBER.fullmatch(member) for member in members if member)
