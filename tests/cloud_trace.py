"""The traces that several processes write into one file, while they write."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from edge_client.trace.otlp import spans_of
from edge_client.trace.recorded_span import RecordedSpan
from routing.telemetry.spans import trace_id_of
from routing.turns import Turn

WRITTEN_SEC = 60.0


@dataclass(frozen=True, slots=True)
class Trace:
    """What all processes wrote of one turn."""

    spans: tuple[RecordedSpan, ...]

    def named(self, name: str) -> list[RecordedSpan]:
        """In the order of their beginnings."""
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.begin_ns)

    def one(self, name: str) -> RecordedSpan:
        (span,) = self.named(name)
        return span

    def children(self, parent: RecordedSpan) -> list[RecordedSpan]:
        found = [span for span in self.spans if span.parent_id == parent.span_id]
        return sorted(found, key=lambda span: span.begin_ns)


async def trace_of(file: Path, turn: Turn, *complete: str) -> Trace:
    """The trace of a turn, once these spans of it are there."""
    trace_id = trace_id_of(turn.trace_context)
    async with asyncio.timeout(WRITTEN_SEC):
        while True:
            spans = tuple(span for span in await asyncio.to_thread(written, file) if span.trace_id == trace_id)
            if {*complete} <= {span.name for span in spans}:
                return Trace(spans)
            await asyncio.sleep(0.1)


def written(file: Path) -> list[RecordedSpan]:
    lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
    return [span for line in lines if line.endswith(b"\n") for span in spans_of(line)]
