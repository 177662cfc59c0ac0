"""When sound should arrive, and how late it is."""

from __future__ import annotations

import pytest

from edge_client.webrtc.transit_clock import WINDOW_SEC, WORST_LATENESS_SEC, TransitClock

PACKET_SEC = 0.020


def test_the_fastest_packet_is_the_measure() -> None:
    clock = TransitClock()
    assert clock.feed(0.00, 100.030) == pytest.approx(0.0)
    assert clock.feed(0.02, 100.060) == pytest.approx(0.010)
    assert clock.feed(0.04, 100.050) == pytest.approx(0.0)
    assert clock.feed(0.06, 100.090) == pytest.approx(0.020)
    assert clock.expected_at(1.0) == pytest.approx(101.010)


def test_a_network_that_becomes_slower_is_the_measure_after_the_window() -> None:
    clock = TransitClock()
    for index in range(500):
        clock.feed(index * PACKET_SEC, index * PACKET_SEC)
    for index in range(500, 1500):
        delay = clock.feed(index * PACKET_SEC, index * PACKET_SEC + 0.1)
        expected = 0.1 if index * PACKET_SEC < 10.0 + WINDOW_SEC - 1.1 else None
        assert expected is None or delay == pytest.approx(expected)
    assert clock.feed(30.0, 30.1) == pytest.approx(0.0)


@pytest.mark.parametrize("drift", [-100e-6, 100e-6])
def test_clocks_may_drift_apart_for_an_hour(drift: float) -> None:
    clock, worst = TransitClock(), 0.0
    for index in range(0, 180_000, 10):
        sent = index * PACKET_SEC
        worst = max(worst, clock.feed(sent, 5 + sent * (1 + drift)))
    assert worst < 0.0015
    assert clock.expected_at(3600.0) == pytest.approx(3605 + 3600 * drift, abs=0.0015)


def test_lateness_is_the_worst_of_late_and_forgotten_slowly() -> None:
    clock = TransitClock()
    clock.feed(0.0, 0.0)
    clock.feed(1.0, 1.05)
    clock.feed(2.0, 2.01)
    assert clock.lateness(2.05) == pytest.approx(0.04)
    assert clock.lateness(20.0) == 0.0


def test_an_accident_is_not_expected_again() -> None:
    clock = TransitClock()
    clock.feed(0.0, 0.0)
    assert clock.feed(1.0, 6.0) == pytest.approx(5.0)
    assert clock.lateness(6.0) == WORST_LATENESS_SEC
