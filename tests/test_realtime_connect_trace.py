"""How a connection came about, as a trace."""

from __future__ import annotations

import pytest

from edge_client.realtime.connect_trace import ConnectTrace
from edge_client.webrtc.moments import ConnectMoments
from routing.telemetry import names
from routing.telemetry.finished_span import FinishedSpan
from routing.telemetry.phase import Carrier
from routing.telemetry.program import Telemetry
from routing.telemetry.spans import Clock

PARENT = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
CONNECTED = ConnectMoments(
    offered=1.0, answered=1.004, reached=1.01, pair_type="host", connected=1.03, first_sound=1.05
)


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry.within(Clock(now=0.0, epoch_ns=10**18), service=names.EDGE)


def traced(
    telemetry: Telemetry, parent: Carrier, moments: ConnectMoments
) -> tuple[dict[str, FinishedSpan], list[object]]:
    counted: list[object] = []
    trace = ConnectTrace(telemetry, session_id="rtc_1", parent=parent, now=1.0)
    trace.admitted(1.001)
    for _ in range(2):  # whoever comes second changes nothing
        trace.over(moments, 11.0, on_connected=lambda *figures: counted.append((*figures[:2], figures[3])))
    return {span.name: span for span in telemetry.book.trace(trace.trace_id)}, counted


def test_each_step_follows_the_one_before(telemetry: Telemetry) -> None:
    spans, counted = traced(telemetry, {}, CONNECTED)
    assert list(spans) == [
        "session.admit",
        "sdp.negotiate",
        "ice.connect",
        "dtls.handshake",
        "media.first_rx",
        "voice.connect",
    ]
    root = spans["voice.connect"]
    assert all(span.parent_id == root.span_id for span in spans.values() if span is not root)
    assert spans["ice.connect"].attributes[names.SELECTED_PAIR] == "host"
    assert root.duration_ms == pytest.approx(50, abs=0.01)
    assert counted == [(pytest.approx(0.03), True, "host")]


def test_it_belongs_to_the_trace_that_came_with_the_offer(telemetry: Telemetry) -> None:
    spans, _ = traced(telemetry, PARENT, CONNECTED)
    root = spans["voice.connect"]
    assert (root.trace_id, root.parent_id) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")


def test_one_that_takes_the_place_of_another_is_linked_to_it(telemetry: Telemetry) -> None:
    trace = ConnectTrace(telemetry, session_id="rtc_1", parent={}, now=1.0, before=PARENT)
    trace.over(CONNECTED, 11.0, on_connected=lambda *_: None)
    (root,) = (span for span in telemetry.book.trace(trace.trace_id) if span.name == names.CONNECT)
    assert root.links == (("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"),)


def test_one_that_never_came_about_shows_how_far_it_came(telemetry: Telemetry) -> None:
    spans, counted = traced(telemetry, {}, ConnectMoments(offered=1.0, answered=1.004))
    assert list(spans) == ["session.admit", "sdp.negotiate", "voice.connect"]
    assert spans["voice.connect"].error == "never connected"
    assert counted == [(10.0, False, None)]


def test_one_that_was_refused_says_why_in_our_words(telemetry: Telemetry) -> None:
    trace = ConnectTrace(telemetry, session_id="rtc_1", parent={}, now=1.0)
    trace.refused(1.002, "AtCapacity")
    (root,) = telemetry.book.trace(trace.trace_id)
    assert (root.name, root.error) == ("voice.connect", "AtCapacity")
