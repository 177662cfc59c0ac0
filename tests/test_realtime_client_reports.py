"""What a caller may say about a turn, and about the trace it belongs to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.caller_report import CallerReport
from edge_client.realtime.client_events import PingClock, ReportTurn, read_envelope, read_event
from edge_client.realtime.client_reports import read_report
from routing.errors import InvalidRequest

NOW_MS = 1_790_000_000_000.0
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def reported(**fields: Any) -> CallerReport:
    """As it is read off the wire."""
    event = {"type": "antiphon.turn.report", "turn_id": "turn_1", **fields}
    read = read_event(read_envelope(json.dumps(event)))
    assert isinstance(read, ReportTurn)
    return read_report(read, now_ms=NOW_MS)


def test_a_whole_report() -> None:
    report = reported(
        speech_end_ms=NOW_MS - 900,
        arrived_ms=NOW_MS - 512.5,
        heard_ms=NOW_MS - 500,
        jitter_buffer_ms=12.5,
        output_ms=10,
        concealed_ms=40,
        packets_lost=2,
        round_trip_ms=31.25,
        clock={"offset_ms": -1500.5, "uncertainty_ms": 0.75, "source": "a clock"},
        mood="unknown fields are ignored",
    )
    assert report == CallerReport(
        turn_id="turn_1",
        speech_end=NOW_MS / 1000 - 0.9,
        arrived=(NOW_MS - 512.5) / 1000,
        heard=NOW_MS / 1000 - 0.5,
        jitter_buffer_sec=0.0125,
        output_sec=0.01,
        concealed_sec=0.04,
        packets_lost=2,
        round_trip_sec=0.03125,
        clock_offset_sec=-1.5005,
        clock_uncertainty_sec=0.00075,
    )


def test_nothing_but_the_turn_needs_to_be_known() -> None:
    assert reported() == CallerReport(turn_id="turn_1")
    assert reported(heard_ms=None, clock=None) == CallerReport(turn_id="turn_1")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"turn_id": ""}, "turn_id"),
        ({"turn_id": "t" * 129}, "turn_id"),
        ({"turn_id": 7}, "turn_id"),
        ({"heard_ms": NOW_MS - 3_600_001}, "heard_ms"),
        ({"arrived_ms": NOW_MS + 5_001}, "arrived_ms"),
        ({"speech_end_ms": 0}, "speech_end_ms"),
        ({"speech_end_ms": float("nan")}, "speech_end_ms"),
        ({"speech_end_ms": float("inf")}, "speech_end_ms"),
        ({"speech_end_ms": 10**400}, "speech_end_ms"),
        ({"speech_end_ms": str(NOW_MS)}, "speech_end_ms"),
        ({"speech_end_ms": True}, "speech_end_ms"),
        ({"speech_end_ms": NOW_MS, "heard_ms": NOW_MS - 1}, "heard_ms"),
        ({"jitter_buffer_ms": -0.001}, "jitter_buffer_ms"),
        ({"output_ms": 60_000}, "output_ms"),
        ({"concealed_ms": [1]}, "concealed_ms"),
        ({"round_trip_ms": -1}, "round_trip_ms"),
        ({"packets_lost": -1}, "packets_lost"),
        ({"packets_lost": 0.5}, "packets_lost"),
        ({"packets_lost": 10**9}, "packets_lost"),
        ({"clock": {"offset_ms": 1}}, "clock.uncertainty_ms"),
        ({"clock": {"offset_ms": 1e16, "uncertainty_ms": 1}}, "clock.offset_ms"),
        ({"clock": {"offset_ms": 1, "uncertainty_ms": -1}}, "clock.uncertainty_ms"),
        ({"clock": 12}, "clock"),
    ],
)
def test_nonsense_is_refused_by_its_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest, match=r"expected .*, got ") as fault:
        reported(**fields)
    assert fault.value.param == param


NUMBERS = st.floats() | st.integers() | st.none() | st.booleans() | st.text(max_size=3)


@given(st.dictionaries(st.sampled_from(list(ReportTurn.model_fields)), NUMBERS))
def test_whatever_is_reported_is_sane_or_refused(fields: dict[str, Any]) -> None:
    try:
        report = reported(**{name: value for name, value in fields.items() if name != "type"})
    except InvalidRequest:
        return
    moments = (report.speech_end, report.arrived, report.heard)
    assert all(-3600 <= moment - NOW_MS / 1000 <= 5 for moment in moments if moment is not None)
    durations = (report.jitter_buffer_sec, report.output_sec, report.concealed_sec, report.round_trip_sec)
    assert all(0 <= duration < 60 for duration in durations if duration is not None)


@pytest.mark.parametrize("client_ms", [0, -5.25, 1e15])
def test_a_ping_may_hold_any_clock(client_ms: float) -> None:
    ping = read_event({"type": "antiphon.clock.ping", "client_ms": client_ms})
    assert isinstance(ping, PingClock)
    assert ping.client_ms == client_ms


@pytest.mark.parametrize("client_ms", [None, "1", True, float("inf"), 1e300, 10**400, {}])
def test_a_ping_holds_a_number(client_ms: object) -> None:
    with pytest.raises(InvalidRequest, match="client_ms: expected"):
        read_event({"type": "antiphon.clock.ping", "client_ms": client_ms})


# -- the trace an event belongs to -----------------------------------------------------------------------------------


def test_any_event_may_carry_a_trace() -> None:
    asked = {"type": "response.create", "traceparent": PARENT}
    assert read_event(asked).carrier == {"traceparent": PARENT}
    assert read_event({**asked, "tracestate": "one=a"}).carrier == {"traceparent": PARENT, "tracestate": "one=a"}
    assert read_event({"type": "response.create", "tracestate": "one=a"}).carrier == {}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"traceparent": "00-1-2-3"}, "traceparent: expected a W3C traceparent such as 00-0af7651916cd43dd"),
        ({"traceparent": 7}, "traceparent: expected"),
        ({"traceparent": PARENT, "tracestate": "a=" + "b" * 511}, "tracestate: expected .* at most 512 characters"),
        ({"traceparent": PARENT, "tracestate": "a"}, "tracestate: expected a W3C tracestate such as one=a,two=b"),
    ],
)
def test_a_malformed_trace_is_refused(fields: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidRequest, match=expected):
        read_event({"type": "response.create", **fields})
