"""Phases become spans with the times, parents and links that they were given, and with none that were there."""

from __future__ import annotations

import logging
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from routing.telemetry.phase import Phase, in_sequence
from routing.telemetry.spans import GAP_NS, Clock, Spans, trace_id_of

EPOCH_NS = 1_700_000_000_123_456_789
SENT = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "vendor=7"}


class Written:
    """Spans, and what became of them."""

    def __init__(self) -> None:
        self._kept = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._kept))
        self.spans = Spans(self.provider.get_tracer("test"), Clock(now=100.0, epoch_ns=EPOCH_NS))

    @property
    def by_name(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self._kept.get_finished_spans()}


def test_what_followed_each_other_does_so_with_a_gap_that_jaeger_needs() -> None:
    written = Written()
    root = written.spans.begin("turn", at=100.0)
    written.spans.write(in_sequence(100.0, {"one": 10.0, "two": 0.0005, "three": 5.0}), parent=root.carrier)
    one, two, three = (written.by_name[name] for name in ("one", "two", "three"))
    assert one.end_time is not None
    assert two.start_time is not None
    assert two.start_time - one.end_time == GAP_NS
    assert two.end_time == two.start_time, "shorter than the gap: it ends no earlier than it began"
    assert three.start_time is not None
    assert three.start_time > two.end_time


def test_what_seems_to_last_longer_than_the_whole_ends_with_it() -> None:
    phases = in_sequence(0.0, {"one": 10.0, "two": 20.0, "three": 5.0}, until=0.02)
    assert [(phase.begin, phase.end) for phase in phases] == [(0.0, 0.01), (0.01, 0.02), (0.02, 0.02)]


@settings(max_examples=30)
@given(st.floats(0.0, 1e6), st.floats(0.0, 1e4))
def test_a_span_never_ends_before_it_begins_and_begins_in_whole_microseconds(begin: float, duration: float) -> None:
    written = Written()
    written.spans.begin("turn", at=begin).end(at=begin + duration)
    turn = written.by_name["turn"]
    assert turn.start_time is not None
    assert turn.end_time is not None
    assert turn.end_time >= turn.start_time
    assert turn.start_time % 1000 == turn.end_time % 1000 == 0


def test_a_moment_and_the_time_of_day_are_two_names_of_the_same() -> None:
    clock = Clock(now=100.0, epoch_ns=EPOCH_NS)
    assert clock.moment(clock.epoch_ns(107.25) / 1e9) == pytest.approx(107.25, abs=1e-6)


def test_what_lies_within_a_phase_is_its_child_and_all_have_what_they_have_in_common() -> None:
    written = Written()
    root = written.spans.begin("turn", at=100.0)
    inner = Phase(name="inner", begin=100.1, end=100.2, attributes={"own": 1}, error="stumbled")
    outer = Phase(name="outer", begin=100.0, end=100.5, children=(inner,), links=(SENT, {}), kind="client")
    written.spans.write([outer], parent=root.carrier, attributes={"turn": "t", "unknown": None, "no": float("inf")})
    root.end(at=101.0)
    spans = written.by_name
    assert spans["inner"].parent == spans["outer"].context
    assert spans["outer"].parent == spans["turn"].context
    assert spans["inner"].attributes == {"turn": "t", "own": 1}
    assert (spans["inner"].status.is_ok, spans["inner"].status.description) == (False, "stumbled")
    assert [f"{link.context.trace_id:032x}" for link in spans["outer"].links] == [trace_id_of(SENT)]
    assert spans["outer"].kind.name == "CLIENT"


def test_the_parent_is_the_one_that_was_given_whatever_span_is_current() -> None:
    written = Written()
    with written.provider.get_tracer("other").start_as_current_span("ambient"):
        written.spans.begin("root", at=100.0).end(at=101.0)
        written.spans.begin("child", at=100.0, parent=SENT).end(at=101.0)
    assert written.by_name["root"].parent is None
    assert f"{written.by_name['child'].context.trace_id:032x}" == trace_id_of(SENT)


def test_a_parent_is_remote_where_its_carrier_has_travelled() -> None:
    written = Written()
    root = written.spans.begin("turn", at=100.0, parent=SENT)
    travelled = pickle.loads(pickle.dumps(root.carrier))
    assert (type(travelled), travelled) == (dict, root.carrier)
    written.spans.begin("here", at=100.0, parent=root.carrier).end(at=101.0)
    written.spans.begin("there", at=100.0, parent=travelled).end(at=101.0)
    here, there = written.by_name["here"].parent, written.by_name["there"].parent
    assert here is not None
    assert there is not None
    assert (here.span_id, here.is_remote, there.is_remote) == (there.span_id, False, True)
    assert travelled["tracestate"] == "vendor=7"


def test_a_span_that_has_ended_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    written = Written()
    span = written.spans.begin("turn", at=100.0)
    with caplog.at_level(logging.DEBUG):
        span.end(at=101.0, attributes={"outcome": "ok"})
        span.note({"outcome": "late"})
        span.end(at=109.0, error="late")
    [turn] = written.by_name.values()
    assert turn.attributes == {"outcome": "ok"}
    assert turn.status.description is None
    assert not [record for record in caplog.records if record.name.startswith(("opentelemetry.sdk.trace", "routing"))]
