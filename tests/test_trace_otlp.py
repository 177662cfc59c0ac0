"""Lines of OTLP-JSON, as our own exporter and others write them, and lines that are something else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_client.trace.otlp import TraceFileError, spans_of
from edge_client.trace.recorded_span import Event, RecordedSpan

TRACE, SPAN, PARENT = "0a" * 16, "0b" * 8, "0c" * 8


def line(service: str = "edge", **fields: Any) -> bytes:
    span = {"traceId": TRACE, "spanId": SPAN, "name": "work", "startTimeUnixNano": "1000", "endTimeUnixNano": "3000"}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    scope_spans = [{"scope": {"name": "antiphon"}, "spans": [{**span, **fields}]}]
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": scope_spans}]}).encode()


def attribute(value: dict[str, Any]) -> object:
    (span,) = spans_of(line(attributes=[{"key": "some", "value": value}]))
    return span.attributes["some"]


def test_a_span_is_read_with_all_it_has() -> None:
    link = {"traceId": "0D" * 16, "spanId": "0e" * 8}
    event = {"name": "cut", "timeUnixNano": 2000, "attributes": [{"key": "by", "value": {"stringValue": "user"}}]}
    status = {"code": "STATUS_CODE_ERROR", "message": "gone"}
    (span,) = spans_of(line(parentSpanId=PARENT, kind=3, links=[link], events=[event], status=status, traceState="a=b"))
    assert span == RecordedSpan(
        trace_id=TRACE,
        span_id=SPAN,
        parent_id=PARENT,
        name="work",
        service="edge",
        begin_ns=1000,
        end_ns=3000,
        links=(("0d" * 16, "0e" * 8),),
        error="gone",
        kind="client",
        scope="antiphon",
        state="a=b",
        events=(Event("cut", 2000, {"by": "user"}),),
        failed=True,
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"stringValue": "text"}, "text"),
        ({"boolValue": False}, False),
        ({"intValue": "-9007199254740993"}, -9007199254740993),
        ({"intValue": 3}, 3),
        ({"doubleValue": 0.5}, 0.5),
        ({"doubleValue": "Infinity"}, float("inf")),
        ({"bytesValue": "AAE="}, b"\x00\x01"),
        ({"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "b"}]}}, (1, "b")),
        ({"kvlistValue": {"values": [{"key": "a", "value": {"boolValue": True}}]}}, {"a": True}),
        ({}, None),
    ],
)
def test_values_keep_their_types(value: dict[str, Any], expected: object) -> None:
    assert attribute(value) == expected


def test_a_parent_of_zeros_is_none() -> None:
    (span,) = spans_of(line(parentSpanId="0" * 16))
    assert span.parent_id == ""


@pytest.mark.parametrize("signal", ["resourceMetrics", "resourceLogs"])
def test_metrics_and_logs_hold_no_spans(signal: str) -> None:
    assert spans_of(json.dumps({signal: []}).encode()) == ()


@pytest.mark.parametrize(
    ("damaged", "told"),
    [
        (b'{"name": "turn"}', "an object with resourceSpans, got an object of 'name'"),
        (b"[1, 2]", "got a list of 2"),
        (b'{"resourceSpans": 7}', "resourceSpans: expected a list of objects, got 7"),
        (b'{"resourceSp', "expected an export of spans in JSON"),
        (b"\xff\xfe", "expected an export of spans in JSON"),
        (b"[" * 100_000, "too deeply nested"),
        (line(traceId="CgoKCgoKCgoKCgoKCgoKCg=="), "traceId: expected 32 hexadecimal digits, got text of 24 char"),
        (line(startTimeUnixNano="soon"), "startTimeUnixNano: expected nanoseconds since 1970"),
        (line(endTimeUnixNano=-1), "endTimeUnixNano: expected nanoseconds"),
        (line(endTimeUnixNano="9" * 5000), "endTimeUnixNano: expected nanoseconds"),
        (line(name=["a"]), "name: expected text, got a list of 1"),
        (line(attributes=[{"key": "a", "value": {"intValue": "x"}}]), "intValue: got text of 1 char"),
        (line(attributes=[{"key": "a", "value": {"intValue": "9" * 400}}]), "intValue: got text of 400 char"),
    ],
)
def test_what_is_no_span_is_told(damaged: bytes, told: str) -> None:
    with pytest.raises(TraceFileError) as error:
        spans_of(damaged)
    assert told in str(error.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("traceId", "name", "kind", "attributes", "links", "events", "status", "startTimeUnixNano", "parentSpanId")


@settings(max_examples=40)
@given(st.sampled_from(FIELDS), json_values)
def test_whatever_a_field_holds_is_read_or_refused(name: str, value: object) -> None:
    try:
        spans_of(line(**dict[str, Any]({name: value})))
    except TraceFileError:
        pass
