"""A span as a file of traces tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from routing.telemetry.finished_span import FinishedSpan

type SpanKind = Literal["internal", "server", "client", "producer", "consumer"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened within a span, at one moment."""

    name: str
    at_ns: int
    attributes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSpan(FinishedSpan):
    """What only files hold as well.

    Args:
        resource: what the process says of itself, its service's name left out
        scope: the name of the library that wrote the span
        state: the W3C trace state
    """

    kind: SpanKind = "internal"
    resource: Mapping[str, object] = field(default_factory=dict)
    scope: str = ""
    state: str = ""
    events: tuple[Event, ...] = ()
    failed: bool = False  # also where `error` says nothing
