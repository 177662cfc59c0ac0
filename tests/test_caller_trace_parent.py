"""The trace that a call belongs to."""

from __future__ import annotations

from edge_client.caller.trace_parent import trace_headers

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_the_trace_of_a_build_goes_on() -> None:
    assert trace_headers({"TRACEPARENT": PARENT}) == {"traceparent": PARENT}
    whole = trace_headers({"TRACEPARENT": PARENT, "TRACESTATE": "ci=7"})
    assert whole == {"traceparent": PARENT, "tracestate": "ci=7"}


def test_what_is_malformed_does_not_travel() -> None:
    assert trace_headers({"TRACEPARENT": "none\r\nX-Evil: 1", "TRACESTATE": "ci=7"}) == {}
    assert trace_headers({"TRACEPARENT": PARENT, "TRACESTATE": "\n"}) == {"traceparent": PARENT}


def test_a_call_that_belongs_to_no_trace_makes_none_up() -> None:
    """Nobody would ever write the span that its connection were a part of."""
    assert trace_headers({}) == {}
