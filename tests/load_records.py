"""A small run, as its callers told it."""

from __future__ import annotations

from edge_client.load.news import CallBegan, CallConnected, CallEnded, CallersAtWork, LoadedTurn, News
from edge_client.load.record import LoadRecord, Sample

NEWS: tuple[News, ...] = (
    CallBegan(call=1, at_sec=0.0, listening=False),
    CallConnected(call=1, at_sec=0.1, connect_ms=40.0),
    CallBegan(call=2, at_sec=1.0, listening=False),
    CallConnected(call=2, at_sec=1.1, connect_ms=60.0),
    LoadedTurn(call=1, at_sec=3.0, v2v_ms=480.0, ttfa_ms=90.0, steps=1),
    LoadedTurn(call=2, at_sec=4.0, v2v_ms=520.0, gaps=2, starved_ms=55.0),
    CallersAtWork(process=0, at_sec=5.0, p99_ms=4.0, lag_ms=30.0),
    LoadedTurn(call=1, at_sec=5.0),
    CallBegan(call=3, at_sec=6.0, listening=False),
    CallEnded(call=3, at_sec=6.0, fault="full", message="no place", retry_after_sec=5.0),
    LoadedTurn(call=1, at_sec=9.0, v2v_ms=500.0),
    CallersAtWork(process=0, at_sec=10.0, p99_ms=2.0, lag_ms=3.0),
    CallEnded(call=2, at_sec=12.0, fault="cut off", message="the other side has ended the call", unasked=2),
    CallBegan(call=4, at_sec=13.0, listening=True),
    CallConnected(call=4, at_sec=13.0, connect_ms=30.0),
    CallEnded(call=1, at_sec=20.0, lost=3, concealed=2),
)


def recorded() -> LoadRecord:
    """One call to its end, one that was cut off, one that found no place, one that listens on."""
    record = LoadRecord()
    for news in NEWS:
        record.hear(news)
    record.samples += [
        Sample(
            at_sec=at_sec,
            calls=calls,
            server={"cpu_sec": 1.0 + at_sec / 10, "resident_bytes": 2e8 + 1e6 * at_sec, "tasks": 10.0, "sockets": 8.0},
            callers={"cpu_sec": at_sec / 20, "resident_bytes": 1e8},
        )
        for at_sec, calls in ((0.0, 0), (5.0, 2), (10.0, 2), (15.0, 2), (20.0, 1))
    ]
    return record
