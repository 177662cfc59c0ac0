"""A turn as one trace: begun with its first sound, written when it is over and its caller has told what they heard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from edge_client.caller_report import CallerReport
from edge_client.session_events import TurnReport, TurnTraced
from edge_client.turn_story import TurnStory, caller_phases, edge_phases, voice_to_voice_sec
from routing.errors import InvalidRequest
from routing.telemetry import names
from routing.telemetry.phase import Attribute, Carrier
from routing.telemetry.program import Telemetry
from routing.telemetry.spans import Clock, LiveSpan, trace_id_of

REPORT_SEC = 5.0  # after the reply's end: a caller who reports does so while they still listen
MOST_REPORTED = 64  # turns of one session whose reports may be under way
MOST_TOLD = 80  # spans of a turn: many a data channel takes no message beyond 64 KiB

type TurnOutcome = Literal["ok", "interrupted", "fallback", "abandoned", "dropped", "error"]
"""Heard out; cut; heard out, from several speakers; left by its caller; begun to be answered and no turn; an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFigures:
    """One turn for those who count. None is what did not happen; ``measured`` says whose ears told the V2V."""

    outcome: TurnOutcome
    target: str
    story: TurnStory
    v2v_sec: float | None
    measured: Literal["caller", "edge"]
    concealed_sec: float | None  # of the reply, as the caller tells
    carrier: Carrier


class SessionTracing:
    """The traces of one session's turns, each linked to the one before it and to the session's connection.

    ``on_turn`` gets the figures of each turn that was answered or given up, once.
    """

    def __init__(
        self,
        session_id: str,
        telemetry: Telemetry,
        *,
        on_turn: Callable[[TurnFigures], None] = lambda figures: None,
        connection: Carrier | None = None,
    ) -> None:
        self.session_id = session_id
        self.telemetry = telemetry
        self.on_turn = on_turn
        self.reports = False  # whether this caller has ever shown that they will report
        self._links = [connection] if connection else []
        self._before: Carrier = {}
        self._joined: Carrier = {}
        self._open: dict[str, TurnTrace] = {}  # by the ids of their turns, oldest first; not written yet

    def begin(self, turn_id: str, index: int, story: TurnStory) -> TurnTrace:
        """The trace of a turn that begins now. If it was announced with a trace of the caller's, it belongs to that."""
        ids: dict[str, Attribute] = {
            names.SESSION_ID: self.session_id,
            names.CONVERSATION_ID: self.session_id,
            names.TURN_ID: turn_id,
            names.TURN_INDEX: index,
        }
        span = self.telemetry.spans(names.EDGE).begin(
            names.TURN, at=story.opened, parent=self._joined, attributes=ids, links=[self._before, *self._links]
        )
        trace = TurnTrace(self, span, story, turn_id=turn_id, ids=ids, before=self._before, joined=self._joined)
        self._joined, self._before = {}, span.carrier
        self._open[turn_id] = trace
        return trace

    def join(self, carrier: Carrier) -> None:
        """The next turn that begins belongs to the trace of ``carrier``."""
        self._joined = carrier

    def ask(self, trace: TurnTrace) -> None:
        """A reply is asked to a turn that has begun: what was announced was this one, and can only be linked now."""
        if self._joined:
            trace.link(self._joined)
            self._joined = {}

    def take_report(self, report: CallerReport, emit: Callable[[TurnTraced], None]) -> None:
        """What the caller measured of a turn; ``emit`` tells them its trace once that is written.

        Raises:
            InvalidRequest: there is no such turn, or it was reported, or that was too long ago.
        """
        self.reports = True
        trace = self._open.get(report.turn_id)
        if trace is None or trace.reported:
            raise InvalidRequest(
                f"expected the id of a turn that was not reported yet, got {report.turn_id!r}",
                code="turn_not_found",
                param="turn_id",
            )
        trace.take_report(report, emit)

    def forget(self, turn_id: str) -> None:
        self._open.pop(turn_id, None)

    def take_back(self, trace: TurnTrace) -> None:
        """It was no turn: whatever was announced is still to come, and nothing links to it."""
        if self._before is trace.carrier:
            self._before, self._joined = trace.before, self._joined or trace.joined

    def make_room(self) -> None:
        """Callers who never report keep nobody waiting."""
        over = [trace for trace in self._open.values() if trace.is_over]
        for trace in over[:-MOST_REPORTED]:
            trace.write()

    def close(self) -> None:
        """Nobody reports any more: write what is over."""
        for trace in list(self._open.values()):
            trace.write()


class TurnTrace:
    """Made by `SessionTracing.begin`. A turn that is never `over` leaves no trace.

    Args:
        before: the turn that it links to
        joined: the trace of the caller's that it belongs to
    """

    def __init__(
        self,
        session: SessionTracing,
        span: LiveSpan,
        story: TurnStory,
        *,
        turn_id: str,
        ids: Mapping[str, Attribute],
        before: Carrier,
        joined: Carrier,
    ) -> None:
        self.carrier = span.carrier
        self.before = before
        self.joined = joined
        self.is_over = False
        self._session = session
        self._span = span
        self._story = story
        self._turn_id = turn_id
        self._ids = ids
        self._report: CallerReport | None = None
        self._emit: Callable[[TurnTraced], None] | None = None
        self._ending: tuple[TurnOutcome, TurnReport | None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def trace_id(self) -> str:
        """Empty where nothing is traced."""
        return trace_id_of(self.carrier)

    @property
    def reported(self) -> bool:
        return self._report is not None

    def take_report(self, report: CallerReport, emit: Callable[[TurnTraced], None]) -> None:
        self._report = _on_clock(report, self._session.telemetry.spans(names.CALLER).clock)
        self._emit = emit
        if self._ending:
            self.write()

    def dropped(self) -> None:
        """It was none: nobody was asked anything."""
        self._session.forget(self._turn_id)
        self._session.take_back(self)

    def link(self, carrier: Carrier) -> None:
        """The caller says that it has to do with a trace of theirs."""
        self._span.link(carrier)

    def over(self, outcome: TurnOutcome, told: TurnReport | None, now: float) -> None:
        """The reply was heard out or cut, or there is none to come. The first time counts."""
        if self.is_over:
            return
        self.is_over = True
        if self._story.over is None:
            self._story.over = now
        self._ending = (outcome, told)
        if self._report or not self._session.reports:
            self.write()
        else:
            self._timer = asyncio.get_running_loop().call_later(REPORT_SEC, self.write)
            self._session.make_room()

    # -- writing -------------------------------------------------------------------------------------------------------

    def write(self) -> None:
        """Write the trace as far as it is known; does nothing for a turn that goes on."""
        if self._timer:
            self._timer.cancel()
        if self._ending:
            self._session.forget(self._turn_id)
            outcome, told = self._ending
            self._ending = None
            self._write(outcome, told)

    def _write(self, outcome: TurnOutcome, told: TurnReport | None) -> None:
        story, report, telemetry = self._story, self._report, self._session.telemetry
        assert story.over is not None, "it is over"
        telemetry.spans(names.EDGE).write(edge_phases(story), parent=self.carrier, attributes=self._ids)
        if report:
            telemetry.spans(names.CALLER).write(caller_phases(story, report), parent=self.carrier, attributes=self._ids)
        figures = self._figures(outcome, told)
        last = max(story.over, (report.heard if report else None) or 0.0)
        error = "the turn could not be answered" if outcome == "error" else None
        self._span.end(at=last, attributes=_root_attributes(figures, told), error=error)
        self._session.on_turn(figures)
        self._tell()

    def _figures(self, outcome: TurnOutcome, told: TurnReport | None) -> TurnFigures:
        report = self._report
        by_caller = report is not None and report.speech_end is not None and report.heard is not None
        return TurnFigures(
            outcome=outcome,
            target=told.placement.backend if told and told.placement else "none",
            story=self._story,
            v2v_sec=voice_to_voice_sec(self._story, report),
            measured="caller" if by_caller else "edge",
            concealed_sec=report.concealed_sec if report else None,
            carrier=self.carrier,
        )

    def _tell(self) -> None:
        """The spans of this turn alone: another session's may belong to the same trace, if somebody joined that.

        Of somebody who hesitates for long, the first attempts at an answer are left out.
        """
        if not self._emit:
            return
        story, clock = self._story, self._session.telemetry.spans(names.EDGE).clock
        origin = story.opened if story.speech_end is None else story.speech_end
        trace = self._session.telemetry.book.trace(self.trace_id)
        spans = tuple(span for span in trace if span.attributes.get(names.TURN_ID) == self._turn_id)
        self._emit(TurnTraced(self._turn_id, self.trace_id, clock.epoch_ns(origin), spans[-MOST_TOLD:]))


def _on_clock(report: CallerReport, clock: Clock) -> CallerReport:
    """The report with its moments in event loop time."""

    def moment(epoch_sec: float | None) -> float | None:
        return None if epoch_sec is None else clock.moment(epoch_sec)

    return replace(
        report, speech_end=moment(report.speech_end), arrived=moment(report.arrived), heard=moment(report.heard)
    )


def _root_attributes(figures: TurnFigures, told: TurnReport | None) -> Mapping[str, Attribute]:
    waits = figures.story.waits_ms()
    return {
        names.OUTCOME: figures.outcome,
        names.ROUTE_TARGET: figures.target,
        names.ROUTE_REASON: told.placement.reason if told and told.placement else None,
        names.V2V_MS: None if figures.v2v_sec is None else round(figures.v2v_sec * 1000),
        names.V2V_MEASURED: None if figures.v2v_sec is None else figures.measured,
        names.ENDPOINT_WAIT_MS: _whole(waits.get("endpoint_wait")),
        names.TTFA_MS: _whole(waits.get("ttfa")),
    }


def _whole(milliseconds: float | None) -> int | None:
    return None if milliseconds is None else round(milliseconds)
