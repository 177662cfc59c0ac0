"""What a trace context must look like to travel on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.trace_context import LONGEST_TRACESTATE, is_traceparent, is_tracestate
from routing.telemetry.spans import trace_id_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize("text", [f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-03"])
def test_a_traceparent_names_a_trace(text: str) -> None:
    assert is_traceparent(text)
    assert trace_id_of({"traceparent": text}) == TRACE


@pytest.mark.parametrize(
    "text",
    [
        "",
        TRACE,
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-０1",
    ],
)
def test_anything_else_is_none(text: str) -> None:
    assert not is_traceparent(text)


@given(st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True))
def test_what_is_accepted_is_understood_by_whoever_writes_the_spans(text: str) -> None:
    assert is_traceparent(text) == bool(trace_id_of({"traceparent": text}))


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("one=a,two=b", True),
        ("tenant@vendor=some value , rojo=00f067aa0ba902b7", True),
        ("one=a,,", True),
        (",".join(f"k{number}=v" for number in range(32)), True),
        (",".join(f"k{number}=v" for number in range(33)), False),
        ("k=" + "v" * 254, True),
        ("k=" + "v" * (LONGEST_TRACESTATE - 1), False),
        ("one", False),
        ("One=a", False),
        ("one=a=b", False),
        ("one=a\r\nX-Evil: 1", False),
        ("one=ä", False),
    ],
)
def test_a_tracestate_is_a_list_of_pairs(text: str, good: bool) -> None:
    assert is_tracestate(text) == good
