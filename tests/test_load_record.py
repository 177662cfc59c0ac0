"""What callers tell, and what it comes to."""

from __future__ import annotations

import pytest

from edge_client.load.figures import costs_of, figures_of
from edge_client.load.news import (
    CallBegan,
    CallConnected,
    CallEnded,
    CallersAtWork,
    LoadedTurn,
    News,
    read_news,
    written,
)
from edge_client.load.record import LoadRecord, Sample
from edge_client.load.run import progress_line
from tests.load_records import recorded


@pytest.mark.parametrize(
    "news",
    [
        CallBegan(call=1, at_sec=0.5, listening=True),
        CallConnected(call=1, at_sec=0.6, connect_ms=41.5),
        LoadedTurn(call=1, at_sec=3.0, v2v_ms=480.0, errors=("one", "two")),
        CallEnded(call=1, at_sec=9.0, fault="full", message="no place", retry_after_sec=5.0),
        CallersAtWork(process=0, at_sec=5.0, p99_ms=1.0, lag_ms=2.0),
    ],
)
def test_news_come_out_of_a_line_as_they_went_in(news: News) -> None:
    assert read_news(written(news)) == news


def test_calls_are_put_together_from_their_news() -> None:
    record = recorded()
    first, second, refused, listener = record.calls
    assert (first.connect_ms, first.ended_sec, first.fault) == (40.0, 20.0, None)
    assert (second.fault, second.unasked) == ("cut off", 2)
    assert refused.is_refused
    assert listener.listening
    assert (record.in_progress, record.over) == (1, 3)
    assert (record.lag_ms, record.lag_p99_ms) == (30.0, 4.0)
    assert progress_line(record) == (
        "1 calls in progress, 1 done, 2 failed; 4 turns, 1 missed; V2V lately p50 500 p95 520 ms"
    )


def test_a_run_comes_to_its_sums() -> None:
    figures = figures_of(recorded())
    assert (figures.calls, figures.refused, figures.failed) == (3, 1, 1)
    assert (figures.turns, figures.answered, figures.missed, figures.early) == (6, 3, 3, 0)
    assert (figures.underruns, figures.starved_turns, figures.starved_ms) == (2, 1, 55.0)
    assert (figures.lost, figures.concealed) == (3, 2)
    assert figures.retry_after_sec == 5.0
    assert figures.tails["v2v_ms"] == (500.0, 520.0, 520.0)
    assert figures.tails["tpot_ms"] is None
    assert figures.connect_ms == (40.0, 60.0, 60.0)
    assert figures.errors == {
        "cut off: the other side has ended the call": 1,
        "full: no place": 1,
        "no reply came, and no reason": 1,
        "not asked any more": 2,
    }
    assert not figures.is_clean


def test_only_what_was_asked_later_counts_where_that_is_wanted() -> None:
    assert figures_of(recorded(), since_sec=6.0).answered == 1


def test_nobody_who_called_is_nobody_let_down_but_no_success_either() -> None:
    assert not figures_of(LoadRecord()).is_clean


def sample(at_sec: float, calls: int, cpu_sec: float, resident: float) -> Sample:
    return Sample(
        at_sec=at_sec,
        calls=calls,
        server={"cpu_sec": cpu_sec, "resident_bytes": resident},
        callers={"cpu_sec": cpu_sec / 2, "resident_bytes": 50.0},
    )


def test_costs_are_those_of_sessions_while_there_were_any() -> None:
    samples = [sample(0, 0, 10, 200), sample(10, 4, 11, 260), sample(20, 4, 13, 290), sample(30, 0, 14, 280)]
    costs = costs_of(samples, before={"resident_bytes": 200})
    assert costs.sessions == pytest.approx(80 / 30)
    assert costs.core_percent == pytest.approx(100 * 4 / 80)
    assert costs.cores == pytest.approx(4 / 30)
    assert costs.callers_cores == pytest.approx(2 / 30)
    assert costs.session_bytes == pytest.approx(70 / (80 / 30))
    assert costs_of(samples[:1], before={}).core_percent is None
    assert costs_of([Sample(at_sec=0, calls=1), Sample(at_sec=1, calls=1)], before={}).cores is None


def test_a_server_that_was_started_anew_has_no_costs() -> None:
    assert costs_of([sample(0, 1, 10, 1), sample(1, 1, 2, 1), sample(2, 1, 11, 1)], before={}).cores is None


def test_callers_who_have_gone_have_worked_all_the_same() -> None:
    used = [10.0, 14.0, 8.0, 9.0]  # one of two processes ends after the second look
    samples = [Sample(at_sec=at, calls=1, callers={"cpu_sec": each}) for at, each in enumerate(used)]
    assert costs_of(samples, before={}).callers_cores == pytest.approx((4 + 1) / 3)
