"""The traces that this process wrote last, for whoever shows one right away."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import StatusCode

from routing.telemetry.finished_span import FinishedSpan

SPANS = 4096  # of some two hundred turns; whoever only knocks leaves one each time
SPANS_PER_TRACE = 256


class TraceBook(SpanProcessor):
    """Keeps the last finished ``spans``, whole traces of them, and of each trace the last ``spans_per_trace``.

    What is beyond is forgotten: the trace that was written to longest ago, and of one trace what ended first: a turn's
    own span ends last. Spans may end on any thread.
    """

    def __init__(self, *, spans: int = SPANS, spans_per_trace: int = SPANS_PER_TRACE) -> None:
        self._spans = spans
        self._spans_per_trace = spans_per_trace
        self._kept = 0
        self._pages: OrderedDict[int, deque[ReadableSpan]] = OrderedDict()
        self._lock = threading.RLock()

    def on_end(self, span: ReadableSpan) -> None:
        """Called on the event loop, in the midst of a conversation: what can wait is done by who reads."""
        context = span.context
        assert context is not None, "only spans of a tracer come here"
        with self._lock:
            page = self._pages.setdefault(context.trace_id, deque(maxlen=self._spans_per_trace))
            self._pages.move_to_end(context.trace_id)
            self._kept -= len(page)
            page.append(span)
            self._kept += len(page)
            while self._kept > self._spans and len(self._pages) > 1:
                self._kept -= len(self._pages.popitem(last=False)[1])

    def trace(self, trace_id: str) -> tuple[FinishedSpan, ...]:
        """The spans of a trace in the order of their ends; none where it is unknown, or forgotten."""
        try:
            key = int(trace_id, 16)
        except ValueError:
            return ()
        with self._lock:
            page = tuple(self._pages.get(key, ()))
        return tuple(finished(span) for span in page)


def finished(span: ReadableSpan) -> FinishedSpan:
    """A span of the SDK in our own words."""
    context = span.context
    assert context is not None, "only spans of a tracer come here"
    assert span.start_time is not None, "a span that is over has begun"
    assert span.end_time is not None, "a span that is over has ended"
    return FinishedSpan(
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        parent_id=f"{span.parent.span_id:016x}" if span.parent else "",
        name=span.name,
        service=str(span.resource.attributes.get("service.name", "")),
        begin_ns=span.start_time,
        end_ns=span.end_time,
        attributes=dict(span.attributes or {}),
        links=tuple((f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") for link in span.links),
        error=_error(span),
    )


def _error(span: ReadableSpan) -> str:
    if span.status.status_code is not StatusCode.ERROR:
        return ""
    return span.status.description or "failed"
