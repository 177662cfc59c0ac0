"""How phases become spans: with explicit times, an explicit parent, and never anything ambient.

Whoever writes a span passes its parent as a carrier, the same mapping that travels between programs. Nothing is "the
current span": tasks, threads and generators of many turns share one event loop.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable, Mapping

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    NoOpTracer,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from routing.telemetry.carrier import plain_carrier
from routing.telemetry.phase import Attribute, Carrier, Kind, Phase

# Jaeger finds the critical path only where a span ends before the next one begins, counted in whole microseconds.
GAP_NS = 2_000

_PROPAGATOR = TraceContextTextMapPropagator()
_KINDS: Mapping[Kind, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "consumer": SpanKind.CONSUMER,
}


class Clock:
    """Turns moments of a monotonic clock (``now``, in seconds) into time since 1970.

    Both are read once: later jumps of the machine's clock move no span against another.
    """

    def __init__(self, *, now: float, epoch_ns: int) -> None:
        self._offset_ns = epoch_ns - round(now * 1e9)

    @classmethod
    def of_loop(cls) -> Clock:
        """The clock of the running event loop."""
        return cls(now=asyncio.get_running_loop().time(), epoch_ns=time.time_ns())

    def epoch_ns(self, moment: float) -> int:
        """Nanoseconds since 1970, in whole microseconds."""
        return (round(moment * 1e9) + self._offset_ns) // 1000 * 1000

    def moment(self, epoch_sec: float) -> float:
        """The other way round: seconds since 1970 as a moment of the monotonic clock."""
        return epoch_sec - self._offset_ns / 1e9


class LiveSpan:
    """A span that has begun: its carrier may travel already. Once it has ended, nothing changes it any more."""

    def __init__(self, span: Span, clock: Clock, *, at: float) -> None:
        self._span = span
        self._clock = clock
        self._began_at = at
        self._ended = False
        self.carrier: Carrier = carrier_of(span)

    def note(self, attributes: Mapping[str, Attribute]) -> None:
        """Add attributes."""
        if not self._ended:
            self._span.set_attributes(_known(attributes))

    def link(self, carrier: Carrier) -> None:
        """Say that it has to do with another span."""
        if not self._ended:
            self._span.add_link(span_of(carrier).get_span_context())

    def end(self, *, at: float, attributes: Mapping[str, Attribute] | None = None, error: str | None = None) -> None:
        """It took until then. ``error`` says why it failed, in an operator's words."""
        if self._ended:
            return
        self.note(attributes or {})
        self._ended = True
        if error is not None:
            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end(_end_ns(self._clock, self._began_at, at))


class Spans:
    """Writes the spans of one service. Moments are those of ``clock``; writing costs some 40 us a span."""

    def __init__(self, tracer: Tracer, clock: Clock) -> None:
        self._tracer = tracer
        self.clock = clock

    @classmethod
    def silent(cls) -> Spans:
        """Writes nothing, and lets a caller's own trace context pass on."""
        return cls(NoOpTracer(), Clock(now=0.0, epoch_ns=0))

    def begin(
        self,
        name: str,
        *,
        at: float,
        parent: Carrier | None = None,
        kind: Kind = "internal",
        attributes: Mapping[str, Attribute] | None = None,
        links: Iterable[Carrier] = (),
    ) -> LiveSpan:
        """Begin a span whose carrier must travel before it ends. Without a parent it is the root of a new trace."""
        span = self._tracer.start_span(
            name,
            context=_context(parent or {}),
            kind=_KINDS[kind],
            attributes=_known(attributes or {}),
            links=[Link(span_of(link).get_span_context()) for link in links if link],
            start_time=self.clock.epoch_ns(at),
        )
        return LiveSpan(span, self.clock, at=at)

    def write(
        self, phases: Iterable[Phase], *, parent: Carrier, attributes: Mapping[str, Attribute] | None = None
    ) -> None:
        """Write phases that are over, with all within them; ``attributes`` go on each."""
        common = attributes or {}
        for phase in phases:
            span = self.begin(
                phase.name,
                at=phase.begin,
                parent=parent,
                kind=phase.kind,
                attributes={**common, **phase.attributes},
                links=phase.links,
            )
            self.write(phase.children, parent=span.carrier, attributes=common)
            span.end(at=phase.end, error=phase.error)


class _OwnCarrier(dict[str, str]):
    """A carrier that did not leave this process: what it names needs no reading, and is not remote."""

    __slots__ = ("context",)

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context
        _PROPAGATOR.inject(self, context)

    def __reduce__(self) -> tuple[type[dict[str, str]], tuple[dict[str, str]]]:
        return dict, (dict(self),)


def carrier_of(span: Span) -> Carrier:
    """What travels to whoever writes a child of this span."""
    return _OwnCarrier(set_span_in_context(NonRecordingSpan(span.get_span_context()), Context()))


def span_of(carrier: Carrier) -> Span:
    """The span that a carrier names, to link to it; an invalid one where it names none."""
    return get_current_span(_context(carrier))


def _context(carrier: Carrier) -> Context:
    """Of a stranger's carrier only what is well formed is read: the SDK would write the rest into the log."""
    return carrier.context if isinstance(carrier, _OwnCarrier) else _PROPAGATOR.extract(plain_carrier(carrier))


def trace_id_of(carrier: Carrier) -> str:
    """The trace's id, 32 hexadecimal digits; empty where there is none."""
    context = span_of(carrier).get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else ""


def _end_ns(clock: Clock, begin: float, end: float) -> int:
    return max(clock.epoch_ns(begin), clock.epoch_ns(end) - GAP_NS)


def _known(attributes: Mapping[str, Attribute]) -> dict[str, AttributeValue]:
    return {name: value for name, value in attributes.items() if value is not None and not _is_no_number(value)}


def _is_no_number(value: AttributeValue) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
