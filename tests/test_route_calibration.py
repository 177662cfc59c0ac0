"""Whether predictions hold, also where the slow answers were no longer waited for."""

from __future__ import annotations

import pytest

from edge_client.route.calibration import PROMISES, Calibration, calibrations
from routing.latency import LEVELS
from routing.record import PlacementRecord
from tests.placements import around, record

TURNS = 120
P90 = PROMISES.index(0.9)


def answers(median_sec: float, *, patience_sec: float | None = None) -> list[PlacementRecord]:
    """Turns whose cloud answers are spread evenly over a distribution of this median; 0.3 s was predicted."""
    actual = around(median_sec)
    levels = [LEVELS[0] + (LEVELS[-1] - LEVELS[0]) * number / TURNS for number in range(TURNS)]
    return [_answer(actual.quantile(level), patience_sec) for level in levels]


def _answer(seconds: float, patience_sec: float | None) -> PlacementRecord:
    if patience_sec is None or seconds <= patience_sec:
        return record(arrivals={"cloud": seconds})
    return record(arrivals={"cloud": None}, abandoned_sec={"cloud": patience_sec})


def calibration(records: list[PlacementRecord]) -> Calibration:
    (found,) = calibrations(records)
    return found


def test_good_predictions_cover_what_they_say() -> None:
    found = calibration(answers(0.3))
    assert found.verdict == "good"
    assert found.came == TURNS
    assert [share for share in found.within if share] == pytest.approx(PROMISES, abs=0.03)


@pytest.mark.parametrize(("median_sec", "verdict"), [(0.35, "hopeful"), (0.2, "careful")])
def test_bad_ones_are_called_so(median_sec: float, verdict: str) -> None:
    assert calibration(answers(median_sec)).verdict == verdict


def test_answers_that_nobody_waited_for_are_not_taken_for_quick_ones() -> None:
    mixed = [*answers(0.3, patience_sec=0.36), *answers(0.3)]  # in half of the turns, the slowest third was not seen
    found = calibration(mixed)
    assert found.unseen > TURNS / 5
    assert found.within[P90] == pytest.approx(0.9, abs=0.04)


def test_beyond_what_anybody_waited_for_nothing_is_claimed() -> None:
    found = calibration(answers(0.3, patience_sec=0.36))
    assert found.within[0] == pytest.approx(0.5, abs=0.03)
    assert found.within[P90] is None
    assert found.verdict == "seen too rarely to tell"


def test_a_few_turns_tell_nothing() -> None:
    assert calibration(answers(0.3)[:10]).verdict == "seen too rarely to tell"


def test_failures_are_no_sightings() -> None:
    assert calibrations([record(arrivals={"cloud": None})]) == ()
