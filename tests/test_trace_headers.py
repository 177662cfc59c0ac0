"""Of a turn's trace only plain headers are passed on."""

from __future__ import annotations

from edge_client.trace_headers import trace_headers
from routing.turns import Turn

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_what_is_no_plain_header_stays_here() -> None:
    carrier = {"traceparent": PARENT, "tracestate": "a\r\nb: c", "baggage": "name=Ada"}
    turn = Turn(session_id="s", turn_id="t", index=0, trace_context=carrier)
    assert trace_headers(turn) == {"traceparent": PARENT}
