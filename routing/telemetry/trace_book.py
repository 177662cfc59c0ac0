"""The traces that this process wrote last, for whoever shows one right away."""

from __future__ import annotations

import threading
from collections import OrderedDict

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import StatusCode

from routing.telemetry.finished_span import FinishedSpan

TRACES = 64
SPANS_PER_TRACE = 256


class TraceBook(SpanProcessor):
    """Keeps the finished spans of the ``traces`` that were written to last, ``spans_per_trace`` at most of each.

    What is beyond is left out: the oldest trace, and of one trace the newest spans. Spans may end on any thread.
    """

    def __init__(self, *, traces: int = TRACES, spans_per_trace: int = SPANS_PER_TRACE) -> None:
        self._traces = traces
        self._spans_per_trace = spans_per_trace
        self._pages: OrderedDict[int, list[ReadableSpan]] = OrderedDict()
        self._lock = threading.RLock()

    def on_end(self, span: ReadableSpan) -> None:
        """Called on the event loop, in the midst of a conversation: what can wait is done by who reads."""
        context = span.context
        assert context is not None, "only spans of a tracer come here"
        with self._lock:
            page = self._pages.setdefault(context.trace_id, [])
            self._pages.move_to_end(context.trace_id)
            if len(page) < self._spans_per_trace:
                page.append(span)
            if len(self._pages) > self._traces:
                self._pages.popitem(last=False)

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
