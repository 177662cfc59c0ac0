"""Who is asked for the time and told of turns, and who is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.caller.clock import STEP_SEC, CallerClock
from edge_client.caller.packets import Packets
from edge_client.caller.reporter import FIRST_PINGS, PING, REPORT, HeardTurn, Reporter
from edge_client.realtime.client_events import ReportTurn, read_event
from edge_client.realtime.client_reports import read_report

EPOCH = 1_790_000_000.0
AHEAD = 0.25  # seconds by which the edge's clock is ahead
WAY = 0.005  # one way, in seconds

TURN = HeardTurn(
    turn_id="turn_1", speech_end=101.0, arrived=101.39, heard=101.4, packets=Packets(received=80, lost=3, concealed=2)
)


class Line:
    """A reporter and what it sends; the caller's clock is at 100 s."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.reporter = Reporter(self.sent.append, CallerClock(now=100.0, epoch_sec=EPOCH))

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.sent]

    def answer(self, now: float) -> bool:
        """The edge answers the newest question, halfway between asking and now."""
        client_ms = self.sent[-1]["client_ms"]
        server_ms = (now - WAY - 100.0 + EPOCH + AHEAD) * 1000
        pong = {"type": "antiphon.clock.pong", "client_ms": client_ms, "server_ms": server_ms}
        return self.reporter.take(pong, now)

    def refuse(self, **fault: object) -> bool:
        return self.reporter.take({"type": "error", "error": fault}, 100.1)


def answered() -> Line:
    line = Line()
    line.reporter.begin(100.0)
    for number in range(FIRST_PINGS):
        assert line.answer(100.01 + number / 100)
    return line


def test_an_edge_is_asked_a_few_times_each_after_the_answer_to_the_one_before() -> None:
    line = Line()
    line.reporter.begin(100.0)
    states = [(line.reporter.is_answered, len(line.sent))]
    line.answer(100.01)
    states.append((line.reporter.is_answered, len(line.sent)))
    assert states == [(False, 1), (True, 2)]
    for _ in range(10):
        line.answer(100.02)
    assert line.kinds() == [PING] * FIRST_PINGS


def test_a_turn_is_told_by_the_edges_clock() -> None:
    line = answered()
    assert line.reporter.tell(TURN, 102.0)
    assert line.kinds()[FIRST_PINGS:] == [REPORT, PING]
    event = read_event(line.sent[FIRST_PINGS])
    assert isinstance(event, ReportTurn)
    report = read_report(event, now_ms=(EPOCH + 2) * 1000)
    assert (report.turn_id, report.packets_lost, report.concealed_sec) == ("turn_1", 3, 0.04)
    assert report.speech_end == pytest.approx(EPOCH + AHEAD + 1.0, abs=1e-5)
    assert report.arrived == pytest.approx(EPOCH + AHEAD + 1.39, abs=1e-5)
    assert report.heard == pytest.approx(EPOCH + AHEAD + 1.4, abs=1e-5)
    assert report.round_trip_sec == pytest.approx(2 * WAY)
    assert report.clock_offset_sec == pytest.approx(AHEAD, abs=1e-5)
    assert report.clock_uncertainty_sec == pytest.approx(
        STEP_SEC + WAY + 1.95e-4, abs=2e-5
    )  # it was answered two seconds ago


def test_what_is_not_known_is_not_told() -> None:
    line = answered()
    line.reporter.tell(HeardTurn(turn_id="t", speech_end=101, arrived=None, heard=102, packets=Packets()), 103)
    assert "arrived_ms" not in line.sent[FIRST_PINGS]


def test_an_answer_to_no_question_tells_nothing() -> None:
    line = Line()
    line.reporter.begin(100.0)
    pong = {"type": "antiphon.clock.pong", "client_ms": 7, "server_ms": 1}
    assert line.reporter.take(pong, 100.1)
    assert not line.reporter.is_answered
    assert line.kinds() == [PING]


# -- servers that are none of ours -------------------------------------------------------------------------------------


def test_a_server_that_names_the_event_it_refuses() -> None:
    line = Line()
    line.reporter.begin(100.0)
    assert line.refuse(type="invalid_request_error", message="Unknown event.", event_id=line.sent[0]["event_id"])
    assert not line.reporter.tell(TURN, 102.0)
    assert line.kinds() == [PING]


def test_a_server_that_names_only_the_type_it_does_not_know() -> None:
    line = Line()
    line.reporter.begin(100.0)
    assert line.refuse(message=f"Invalid value: '{PING}'. Supported values are: 'session.update'.", event_id=None)
    assert line.kinds() == [PING]


@pytest.mark.parametrize("event_id", [None, "", "mine", 7])
def test_errors_about_other_events_are_everybodys(event_id: object) -> None:
    line = Line()
    line.reporter.begin(100.0)
    assert not line.refuse(message="Invalid voice.", event_id=event_id)


def test_a_report_that_is_refused_is_nobody_elses_business() -> None:
    line = answered()
    line.reporter.tell(TURN, 102.0)
    assert line.refuse(message="expected the id of a turn", event_id=line.sent[FIRST_PINGS]["event_id"])


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.just(10**400) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(JSON, JSON)
def test_malformed_answers_do_no_harm(one: object, other: object) -> None:
    line = Line()
    line.reporter.begin(100.0)
    asked = line.sent[0]["client_ms"]
    for odd in (
        one,
        {"type": "antiphon.clock.pong", "client_ms": one, "server_ms": other},
        {"type": "error", "error": one},
        {"type": "error", "error": {"event_id": one, "message": other}},
        {"type": "antiphon.clock.pong", "client_ms": asked, "server_ms": other},
    ):
        line.reporter.take(odd, 100.1)
