"""Time on a line of characters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor

from edge_client.trace.traced_turn import Stretch

MARGIN = 0.15  # of what is looked at, before and after it


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeAxis:
    """From ``begin_ns`` to ``end_ns`` in ``width`` characters; moments are told from ``zero_ns``."""

    begin_ns: int
    end_ns: int
    zero_ns: int
    width: int

    @classmethod
    def around(cls, window: Stretch, *, zero_ns: int, width: int) -> TimeAxis:
        """A window with a little of what was before and after."""
        margin_ns = round((window.end_ns - window.begin_ns) * MARGIN)
        return cls(begin_ns=window.begin_ns - margin_ns, end_ns=window.end_ns + margin_ns, zero_ns=zero_ns, width=width)

    def ms(self, moment_ns: int) -> float:
        return (moment_ns - self.zero_ns) / 1e6

    def place(self, moment_ns: int) -> float:
        """Where it is on the line, as a fraction of a character; it may lie outside."""
        length_ns = max(1, self.end_ns - self.begin_ns)
        return (moment_ns - self.begin_ns) / length_ns * self.width

    def column(self, moment_ns: int) -> int | None:
        """The character at a moment; None where that is off the line."""
        place = floor(self.place(moment_ns))
        return place if 0 <= place < self.width else None

    def columns(self, begin_ns: int, end_ns: int) -> range:
        """The characters of a stretch, one at least where any of it is on the line."""
        first, last = floor(self.place(begin_ns)), ceil(self.place(end_ns))
        return range(max(0, min(first, self.width)), max(0, min(max(last, first + 1), self.width)))

    def draw(self, line: list[str], stretches: Iterable[tuple[int, int]], mark: str) -> None:
        """Put a mark wherever one of the stretches is."""
        for begin_ns, end_ns in stretches:
            for column in self.columns(begin_ns, end_ns):
                line[column] = mark
