"""What a caller tells of a turn, checked against the clock of the edge and put into Antiphon's own words."""

from __future__ import annotations

from edge_client.caller_report import CallerReport
from edge_client.realtime.client_events import ReportTurn
from routing.errors import InvalidRequest

OLDEST_MS = 3_600_000.0  # no turn is older than an hour when it is told of
AHEAD_MS = 5_000.0  # and none is still to come: the caller's idea of our clock is never so wrong


def read_report(event: ReportTurn, *, now_ms: float) -> CallerReport:
    """The report in an event; ``now_ms`` is milliseconds since 1970, by the clock that the caller reports by.

    Raises:
        InvalidRequest: a moment is out of the question, or the reply was heard before it was asked for.
    """
    _expect_believable(event, now_ms)
    _expect_in_order(event)
    clock = event.clock
    return CallerReport(
        turn_id=event.turn_id,
        speech_end=_seconds(event.speech_end_ms),
        arrived=_seconds(event.arrived_ms),
        heard=_seconds(event.heard_ms),
        jitter_buffer_sec=_seconds(event.jitter_buffer_ms),
        output_sec=_seconds(event.output_ms),
        concealed_sec=_seconds(event.concealed_ms),
        packets_lost=event.packets_lost,
        round_trip_sec=_seconds(event.round_trip_ms),
        clock_offset_sec=_seconds(clock.offset_ms if clock else None),
        clock_uncertainty_sec=_seconds(clock.uncertainty_ms if clock else None),
    )


def _expect_believable(event: ReportTurn, now_ms: float) -> None:
    moments = {
        "speech_end_ms": event.speech_end_ms,
        "arrived_ms": event.arrived_ms,
        "heard_ms": event.heard_ms,
    }
    for name, moment in moments.items():
        if moment is not None and not -OLDEST_MS <= moment - now_ms <= AHEAD_MS:
            expected = f"expected a moment in the hour before {now_ms:.0f}"
            raise InvalidRequest(f"{name}: {expected}, got {moment}", param=name)


def _expect_in_order(event: ReportTurn) -> None:
    if event.speech_end_ms is not None and event.heard_ms is not None and event.heard_ms < event.speech_end_ms:
        early_ms = event.speech_end_ms - event.heard_ms
        raise InvalidRequest(
            f"heard_ms: expected a moment after speech_end_ms, got one {early_ms:g} ms before", param="heard_ms"
        )


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
