"""How long a missing packet is waited for, on networks of several kinds."""

from __future__ import annotations

import pytest

from edge_client.webrtc.patience import BEGINNING_SEC, LONGEST_SEC, Patience

PACKET_SEC = 0.020


def lived(patience: Patience, *, begin: float, seconds: float, late_share: float = 0.0, late_sec: float = 0.0) -> float:
    """Packets for a while, an even share of them late; returns the end."""
    owed, now = 0.0, begin
    for index in range(round(seconds / PACKET_SEC)):
        now = begin + index * PACKET_SEC
        patience.arrived(now)
        owed += late_share
        if owed >= 1:
            patience.came_late(late_sec, now)
            owed -= 1
    return now


def test_before_anything_is_known_a_little_is_waited() -> None:
    assert Patience().wait_sec() == BEGINNING_SEC


def test_on_a_network_that_keeps_the_order_that_ends_after_seconds() -> None:
    patience = Patience()
    lived(patience, begin=1000.0, seconds=4.0)
    assert patience.wait_sec() == BEGINNING_SEC
    lived(patience, begin=1004.0, seconds=4.0)
    assert patience.wait_sec() == 0.0


@pytest.mark.parametrize("late_sec", [0.001, 0.013, 0.040, 0.0599])
def test_what_often_comes_late_is_waited_for_and_no_longer_than_it_takes(late_sec: float) -> None:
    patience = Patience()
    lived(patience, begin=0.0, seconds=20.0, late_share=0.05, late_sec=late_sec)
    assert late_sec < patience.wait_sec() <= late_sec + 0.002


def test_what_is_rare_is_not_waited_for() -> None:
    patience = Patience()
    lived(patience, begin=0.0, seconds=60.0, late_share=0.01, late_sec=0.030)
    assert patience.wait_sec() == 0.0


def test_what_is_later_than_the_longest_wait_does_not_count() -> None:
    patience = Patience()
    lived(patience, begin=0.0, seconds=20.0, late_share=0.3, late_sec=LONGEST_SEC)
    assert patience.wait_sec() == 0.0


def test_disorder_is_forgotten_within_seconds() -> None:
    patience = Patience()
    end = lived(patience, begin=0.0, seconds=20.0, late_share=0.2, late_sec=0.030)
    lived(patience, begin=end, seconds=2.0)
    assert patience.wait_sec() > 0.030
    lived(patience, begin=end + 2.0, seconds=6.0)
    assert patience.wait_sec() == 0.0


@pytest.mark.parametrize("pause_sec", [100.0, 1e4, 1e9])
def test_a_long_pause_breaks_nothing(pause_sec: float) -> None:
    patience = Patience()
    lived(patience, begin=0.0, seconds=20.0, late_share=0.05, late_sec=0.030)
    lived(patience, begin=pause_sec, seconds=600.0, late_share=0.05, late_sec=0.010)
    assert 0.010 < patience.wait_sec() <= 0.012
