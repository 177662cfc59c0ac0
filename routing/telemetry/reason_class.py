"""The kind of a reason: few enough for a metric's label, where the whole text holds names and figures."""

from __future__ import annotations

from typing import Final

from routing.telemetry.instruments import OTHER

DECISIONS: Final = frozenset({
    "ready",
    "worth waiting",
    "not worth waiting",
    "soonest",
    "worth the difference",
    "private",
    "only one able",
    "only backend",
    "policy device",
    "policy cloud",
    "nobody able",
    "nobody said a word",
})  # fmt: skip
SWITCHES: Final = frozenset({
    "too late",
    "not asked",
    "at capacity",
    "unavailable",
    "unsuited",
    "stalled",
    "silent",
    "failed",
})  # fmt: skip
_NOBODY: Final = "there is nobody"  # on this device, or anywhere


def reason_class(reason: str) -> str:
    """Why a backend was chosen, or why one gave way to another, without the figures of the turn."""
    head = reason.partition(";")[0].partition(":")[0].strip()
    if head in DECISIONS or head in SWITCHES:
        return head
    return "nobody able" if head.startswith(_NOBODY) else OTHER
