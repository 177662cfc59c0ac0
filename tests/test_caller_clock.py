"""The clock of the edge, as a caller finds it out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.caller.clock import DRIFT, MOST_READINGS, STEP_SEC, CallerClock, ClockEstimate

EPOCH = 1_790_000_000.0
AHEAD = 2.5  # seconds by which the edge's clock is ahead of the caller's


def clock() -> CallerClock:
    """A caller's clock that shows 100 s where it is `EPOCH` for the caller."""
    return CallerClock(now=100.0, epoch_sec=EPOCH)


def whole_ms(server_ms: float) -> float:
    """As an event loop tells it that counts in milliseconds."""
    return float(int(server_ms))


def edge_ms(moment: float, *, ahead: float = AHEAD) -> float:
    """What the edge's clock shows at a moment of the caller's."""
    return (moment - 100.0 + EPOCH + ahead) * 1000


def test_nothing_is_known_before_the_first_answer() -> None:
    assert clock().estimate(100.0) is None


def test_an_answer_halfway_tells_the_offset() -> None:
    caller = clock()
    caller.feed(100.0, 100.040, edge_ms(100.020))
    estimate = caller.estimate(100.040)
    assert estimate == pytest.approx(ClockEstimate(AHEAD, 0.020 + STEP_SEC, 0.040), abs=1e-6)
    assert estimate is not None
    assert caller.edge_ms(101.0, estimate) == pytest.approx(edge_ms(101.0), abs=1e-3)


def test_a_way_that_takes_longer_one_way_is_wrong_by_no_more_than_is_said() -> None:
    caller = clock()
    caller.feed(100.0, 100.100, edge_ms(100.090))  # 90 ms there, 10 ms back
    estimate = caller.estimate(100.100)
    assert estimate == pytest.approx(ClockEstimate(AHEAD + 0.040, 0.050 + STEP_SEC, 0.100), abs=1e-6)


def test_the_quickest_answer_counts() -> None:
    caller = clock()
    for sent, there, back in ((100.0, 0.080, 0.010), (100.1, 0.002, 0.002), (100.2, 0.030, 0.050)):
        caller.feed(sent, sent + there + back, edge_ms(sent + there))
    estimate = caller.estimate(100.280)
    assert estimate is not None
    assert estimate.offset_sec == pytest.approx(AHEAD, abs=1e-6)
    assert estimate.round_trip_sec == pytest.approx(0.004, abs=1e-9)
    assert estimate.uncertainty_sec == pytest.approx(STEP_SEC + 0.002 + (100.280 - 100.104) * DRIFT)


def test_an_old_answer_gives_way_to_a_slower_one() -> None:
    caller = clock()
    caller.feed(100.0, 100.002, edge_ms(100.001))
    caller.feed(160.0, 160.020, edge_ms(160.010, ahead=AHEAD + 0.003))  # it went on faster by 50 in a million
    after = caller.estimate(160.020)
    assert after is not None
    assert after.offset_sec == pytest.approx(AHEAD, abs=1e-6)  # 1 ms and 6 ms of drift are still less than 10 ms
    caller.feed(220.0, 220.020, edge_ms(220.010, ahead=AHEAD + 0.006))
    later = caller.estimate(220.020)
    assert later is not None
    assert later.offset_sec == pytest.approx(AHEAD + 0.006, abs=1e-6)


def test_no_more_than_the_latest_answers_are_kept() -> None:
    caller = clock()
    caller.feed(100.0, 100.001, edge_ms(100.0005, ahead=AHEAD + 0.001))
    for number in range(MOST_READINGS):
        sent = 100.01 + number / 100
        caller.feed(sent, sent + 0.005, edge_ms(sent + 0.0025))
    estimate = caller.estimate(100.2)
    assert estimate is not None
    assert estimate.offset_sec == pytest.approx(AHEAD, abs=1e-6)


def test_an_answer_that_contradicts_those_before_is_believed() -> None:
    caller = clock()
    caller.feed(100.0, 100.001, edge_ms(100.0005))
    caller.feed(101.0, 101.004, edge_ms(101.002, ahead=AHEAD + 30))  # the edge's machine slept, or this one
    estimate = caller.estimate(101.004)
    assert estimate == pytest.approx(ClockEstimate(AHEAD + 30, 0.002 + STEP_SEC, 0.004), abs=1e-6)


@pytest.mark.parametrize("server_ms", [float("nan"), float("inf"), -1e300, 10**400])
def test_an_answer_that_cannot_be_is_ignored(server_ms: float) -> None:
    caller = clock()
    caller.feed(100.0, 100.01, server_ms)
    caller.feed(100.0, 99.0, edge_ms(99.5))
    assert caller.estimate(101.0) is None


WAY = st.floats(0.0, 2.0)


@given(st.lists(st.tuples(WAY, WAY), min_size=1, max_size=30), st.floats(-1e6, 1e6), st.floats(-DRIFT, DRIFT))
def test_the_truth_is_never_further_away_than_is_said(
    ways: list[tuple[float, float]], ahead: float, drift: float
) -> None:
    caller, now = clock(), 100.0
    for there, back in ways:
        answered = now + there
        caller.feed(now, answered + back, whole_ms(edge_ms(answered, ahead=ahead + drift * (answered - 100))))
        now = answered + back + 5
    estimate = caller.estimate(now)
    assert estimate is not None
    truth = ahead + drift * (now - 100)
    assert abs(estimate.offset_sec - truth) <= estimate.uncertainty_sec + DRIFT * 2.0
