"""Time on a line of characters."""

from __future__ import annotations

from edge_client.trace.time_axis import TimeAxis
from edge_client.trace.traced_turn import Stretch

AXIS = TimeAxis(begin_ns=-20_000_000, end_ns=80_000_000, zero_ns=0, width=10)  # 10 ms a character


def drawn(begin_ms: float, end_ms: float) -> str:
    line = [" "] * AXIS.width
    AXIS.draw(line, [(round(begin_ms * 1e6), round(end_ms * 1e6))], "#")
    return "".join(line)


def test_a_bar_covers_its_time() -> None:
    assert drawn(0, 30) == "  ###     "
    assert drawn(-5, 5) == " ##       "


def test_the_shortest_bar_is_seen() -> None:
    assert drawn(40, 40) == "      #   "


def test_what_lies_outside_is_cut_or_not_drawn() -> None:
    assert drawn(-500, 0) == "##        "
    assert drawn(60, 500) == "        ##"
    assert drawn(90, 100) == drawn(-90, -80) == " " * 10


def test_moments_are_told_from_zero() -> None:
    assert AXIS.ms(-20_000_000) == -20
    assert AXIS.column(0) == 2
    assert AXIS.column(80_000_000) is None


def test_a_margin_shows_what_was_before_and_after() -> None:
    axis = TimeAxis.around(Stretch(0, 100), zero_ns=0, width=10)
    assert (axis.begin_ns, axis.end_ns) == (-15, 115)
