"""The book keeps the traces that were written to last, and shows their spans as they leave the process."""

from __future__ import annotations

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from routing.telemetry.finished_span import FinishedSpan
from routing.telemetry.phase import Carrier, Phase
from routing.telemetry.program import Telemetry
from routing.telemetry.spans import Clock, Spans, trace_id_of
from routing.telemetry.trace_book import TraceBook

CLOCK = Clock(now=100.0, epoch_ns=1_700_000_000_000_000_000)


def spans_into(book: TraceBook) -> Spans:
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(book)
    return Spans(provider.get_tracer("test"), CLOCK)


def written(spans: Spans, *, spans_within: int = 0, parent: Carrier | None = None) -> str:
    root = spans.begin("voice.turn", at=100.0, parent=parent)
    spans.write([Phase(name="playout", begin=100.0, end=101.0)] * spans_within, parent=root.carrier)
    root.end(at=102.0)
    return trace_id_of(root.carrier)


def test_spans_are_shown_as_they_leave_the_process() -> None:
    telemetry = Telemetry.within(CLOCK, service="antiphon-edge")
    edge, caller = telemetry.spans("antiphon-edge"), telemetry.spans("antiphon-caller")
    before = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    root = edge.begin("voice.turn", at=100.0, attributes={"voice.turn.index": 3, "unknown": None}, links=[before])
    caller.write([Phase(name="network.uplink", begin=100.5, end=100.75, error="lost")], parent=root.carrier)
    root.end(at=101.0)
    trace_id = trace_id_of(root.carrier)
    uplink, turn = telemetry.book.trace(trace_id)
    assert turn == FinishedSpan(
        trace_id=trace_id,
        span_id=turn.span_id,
        parent_id="",
        name="voice.turn",
        service="antiphon-edge",
        begin_ns=1_700_000_000_000_000_000,
        end_ns=1_700_000_000_999_998_000,
        attributes={"voice.turn.index": 3},
        links=(("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"),),
    )
    assert (uplink.service, uplink.parent_id, uplink.error) == ("antiphon-caller", turn.span_id, "lost")
    assert (uplink.begin_ns - turn.begin_ns, uplink.duration_ms) == (500_000_000, 249.998)


def test_the_trace_that_was_written_to_longest_ago_is_forgotten_first() -> None:
    book = TraceBook(spans=3)
    spans = spans_into(book)
    first, second = written(spans), written(spans)
    written(spans, parent={"traceparent": f"00-{first}-b7ad6b7169203331-01"})
    third = written(spans)
    assert [len(book.trace(each)) for each in (first, second, third)] == [2, 0, 1]


def test_of_a_trace_without_end_the_last_are_kept() -> None:
    book = TraceBook(spans=2, spans_per_trace=3)
    assert [span.name for span in book.trace(written(spans_into(book), spans_within=5))][1:] == [
        "playout",
        "voice.turn",
    ]


def test_those_who_only_knock_make_no_turn_forgotten() -> None:
    book = TraceBook()
    spans = spans_into(book)
    turn = written(spans, spans_within=20)
    for _ in range(1000):
        written(spans)
    assert len(book.trace(turn)) == 21


def test_of_what_is_no_trace_there_is_nothing() -> None:
    assert TraceBook().trace("0" * 32) == TraceBook().trace("") == TraceBook().trace("none") == ()
