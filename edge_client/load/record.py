"""What has happened so far in a run: every call, every turn, and samples of what server and callers take meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import assert_never

from edge_client.load.news import CallBegan, CallConnected, CallEnded, CallersAtWork, CallOutcome, LoadedTurn, News


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedCall(CallOutcome):
    """One call. Moments are seconds since the beginning of the run; None where it did not come to that."""

    number: int
    began_sec: float
    listening: bool
    connected_sec: float | None = None
    connect_ms: float | None = None
    ended_sec: float | None = None

    @property
    def is_refused(self) -> bool:
        """For want of a place: the server said so at once."""
        return self.fault == "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One moment of a run.

    Args:
        calls: in progress, as the callers know
        server: figures by their names: ``cpu_sec``, ``resident_bytes``, ``threads``, ``files``, ``sockets`` where the
            machine tells, and ``tasks``, ``peer_connections``, ``calls``, ``sessions``, ``loop_lag_ms`` where the
            server does
        callers: ``cpu_sec`` and ``resident_bytes`` of all their processes
    """

    at_sec: float
    calls: int
    server: Mapping[str, float] = field(default_factory=dict)
    callers: Mapping[str, float] = field(default_factory=dict)


class LoadRecord:
    """Takes news in the order in which they come."""

    def __init__(self) -> None:
        self._calls: dict[int, LoadedCall] = {}
        self.turns: list[LoadedTurn] = []
        self.samples: list[Sample] = []
        self.lag_ms = 0.0  # of the latest of the callers' event loops, at the worst
        self.lag_p99_ms = 0.0

    @property
    def calls(self) -> Sequence[LoadedCall]:
        return [self._calls[number] for number in sorted(self._calls)]

    @property
    def in_progress(self) -> int:
        """Calls that are connected."""
        return sum(call.connected_sec is not None and call.ended_sec is None for call in self._calls.values())

    @property
    def over(self) -> int:
        return sum(call.ended_sec is not None for call in self._calls.values())

    def hear(self, news: News) -> None:
        match news:
            case LoadedTurn():
                self.turns.append(news)
            case CallBegan(call=number):
                self._calls[number] = LoadedCall(number=number, began_sec=news.at_sec, listening=news.listening)
            case CallConnected(call=number):
                self._change(number, connected_sec=news.at_sec, connect_ms=news.connect_ms)
            case CallEnded(call=number):
                self._end(number, news)
            case CallersAtWork():
                self.lag_ms = max(self.lag_ms, news.lag_ms)
                self.lag_p99_ms = max(self.lag_p99_ms, news.p99_ms)
            case _:
                assert_never(news)

    def _end(self, number: int, end: CallEnded) -> None:
        outcome = {part.name: getattr(end, part.name) for part in fields(CallOutcome)}
        self._change(number, ended_sec=end.at_sec, **outcome)

    def _change(self, number: int, **changes: object) -> None:
        self._calls[number] = replace(self._calls[number], **changes)  # type: ignore[arg-type]  # by their own names
