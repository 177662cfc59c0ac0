"""A span that is over, as everybody shows it: the page, the terminal, the tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedSpan:
    """Ids are lower-case hexadecimal. ``parent_id`` is empty for the root, ``error`` where nothing failed.

    Times are nanoseconds since 1970, as they were exported.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    service: str
    begin_ns: int
    end_ns: int
    attributes: Mapping[str, object] = field(default_factory=dict)
    links: tuple[tuple[str, str], ...] = ()  # trace id and span id of each
    error: str = ""

    @property
    def duration_ms(self) -> float:
        return (self.end_ns - self.begin_ns) / 1e6
