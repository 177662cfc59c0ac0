"""A stretch of time with a name: what traces, the page and the terminal show alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

type Carrier = Mapping[str, str]  # W3C Trace Context: "traceparent", and "tracestate" where there is any
type Kind = Literal["internal", "server", "client", "consumer"]
type Attribute = str | bool | int | float | Sequence[str] | None  # None, or not finite: nothing is known and written


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Something took from ``begin`` to ``end``, in seconds on the event loop's clock.

    Args:
        name: one of `routing.telemetry.names`
        links: carriers of spans that had to do with it, in other traces or beside it
        error: why it failed, in an operator's words and none of the caller's
        children: what happened within it
    """

    name: str
    begin: float
    end: float
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    links: tuple[Carrier, ...] = ()
    error: str | None = None
    children: tuple[Phase, ...] = ()
    kind: Kind = "internal"

    @property
    def duration_sec(self) -> float:
        return self.end - self.begin


def in_sequence(begin: float, durations_ms: Mapping[str, float], *, until: float = math.inf) -> tuple[Phase, ...]:
    """Phases that followed each other from ``begin`` on, none beyond ``until``.

    An event loop's clock stands still while a callback runs, so what was measured on a thread may seem to last longer.
    """
    phases: list[Phase] = []
    for name, duration_ms in durations_ms.items():
        end = min(begin + duration_ms / 1000, until)
        phases.append(Phase(name=name, begin=begin, end=end))
        begin = end
    return tuple(phases)
