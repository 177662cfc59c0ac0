"""What a program wrote, as its own book of traces shows it, and the turn that it was about."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from routing.telemetry import names
from routing.telemetry.finished_span import FinishedSpan
from routing.telemetry.spans import Clock, LiveSpan, Spans, trace_id_of
from routing.telemetry.trace_book import TraceBook
from routing.turns import Turn


@dataclass(frozen=True, slots=True)
class Tracing:
    """One turn's trace in the making. ``root`` is its ``voice.turn``, which nobody ends."""

    book: TraceBook
    spans: Spans
    root: LiveSpan

    @classmethod
    def begun(cls) -> Tracing:
        """On the running loop's clock."""
        now, book = asyncio.get_running_loop().time(), TraceBook()
        provider = TracerProvider(resource=Resource({"service.name": names.EDGE}), shutdown_on_exit=False)
        provider.add_span_processor(book)
        spans = Spans(provider.get_tracer("tests"), Clock(now=now, epoch_ns=10**18))
        return cls(book, spans, spans.begin(names.TURN, at=now))

    def turn(self, turn: Turn) -> Turn:
        """The same, in this trace."""
        return replace(turn, trace_context=self.root.carrier)

    def written(self) -> tuple[FinishedSpan, ...]:
        return self.book.trace(trace_id_of(self.root.carrier))

    def named(self, name: str) -> list[FinishedSpan]:
        """In the order in which they began."""
        return sorted((span for span in self.written() if span.name == name), key=lambda span: span.begin_ns)

    def tree(self) -> list[str]:
        """Names, those of children indented, in the order in which they began."""
        return _tree(self.written(), self.root.carrier["traceparent"].split("-")[2], depth=0)

    def check(self) -> None:
        """Each span once, each within its parent's time but for the root's, none without a parent."""
        spans = {span.span_id: span for span in self.written()}
        assert not [count for count in Counter(span.span_id for span in self.written()).values() if count > 1]
        for span in spans.values():
            assert span.begin_ns <= span.end_ns
            parent = spans.get(span.parent_id)
            assert parent or span.parent_id == self.root.carrier["traceparent"].split("-")[2]
            assert not parent or parent.begin_ns <= span.begin_ns


def _tree(spans: Sequence[FinishedSpan], parent_id: str, *, depth: int) -> list[str]:
    children = sorted((span for span in spans if span.parent_id == parent_id), key=lambda span: span.begin_ns)
    return [line for span in children for line in _lines(span, spans, depth)]


def _lines(span: FinishedSpan, spans: Sequence[FinishedSpan], depth: int) -> Iterable[str]:
    return [f"{'  ' * depth}{span.name}", *_tree(spans, span.span_id, depth=depth + 1)]
