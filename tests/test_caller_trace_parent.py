"""The trace that a call belongs to."""

from __future__ import annotations

import random

from edge_client.caller.trace_parent import new_traceparent, trace_headers
from routing.telemetry.carrier import is_traceparent

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_the_trace_of_a_build_goes_on() -> None:
    assert trace_headers({"TRACEPARENT": PARENT}) == {"traceparent": PARENT}
    whole = trace_headers({"TRACEPARENT": PARENT, "TRACESTATE": "ci=7"})
    assert whole == {"traceparent": PARENT, "tracestate": "ci=7"}


def test_what_is_malformed_does_not_travel() -> None:
    own = trace_headers({"TRACEPARENT": "none\r\nX-Evil: 1", "TRACESTATE": "ci=7"})
    assert list(own) == ["traceparent"]
    assert is_traceparent(own["traceparent"])
    assert trace_headers({"TRACEPARENT": PARENT, "TRACESTATE": "\n"}) == {"traceparent": PARENT}


def test_a_trace_of_ones_own_is_another_one_each_time_whatever_was_seeded() -> None:
    drawn = set()
    for _ in range(20):
        random.seed(0)
        drawn.add(new_traceparent())
    assert len(drawn) == 20
    assert all(is_traceparent(parent) for parent in drawn)
