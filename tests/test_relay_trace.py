"""What the ingress writes of a turn: nothing before it is over, and nothing of turns that never were any."""

from __future__ import annotations

import numpy as np

from deployments.relay_trace import RelayTrace
from deployments.turn_ledger import TurnLedger
from routing.errors import AtCapacity, BackendError, BackendUnavailable, InvalidRequest
from routing.telemetry import names
from routing.telemetry.finished_span import FinishedSpan
from routing.telemetry.program import Telemetry
from routing.telemetry.spans import Clock, trace_id_of
from routing.turns import SPEECH_SAMPLE_RATE, AudioChunk, ReplyEnd, Turn
from routing.wire import Ask, Commit, Message, Open, Refused, RollBack, Speech, Told, encode

PARENT = {"traceparent": "00-0123456789abcdef0123456789abcdef-0123456789abcdef-03"}
TURN = Turn(session_id="s", turn_id="t", index=3, instructions="a secret")
ORDER = (names.INGRESS_TURN, names.REPLICA_REQUEST, names.REPLICA_RESERVE, names.REPLICA_WELCOME)
SPEECH = Speech(AudioChunk(np.zeros(1600, np.float32), SPEECH_SAMPLE_RATE))


class Writing:
    """A trace that is written, and the ledger that goes with it."""

    def __init__(self) -> None:
        self._telemetry = Telemetry.within(Clock(now=0.0, epoch_ns=0), service=names.INGRESS)
        self.ledger = TurnLedger(Open(TURN))
        self.trace = RelayTrace(self._telemetry.spans(names.INGRESS), TURN, parent=PARENT, now=1.0)

    def say(self, *messages: Message) -> None:
        for message in messages:
            self.ledger.say(message, encode(message))

    def end(self, now: float = 9.0) -> list[FinishedSpan]:
        """What was written, outermost first and in the order of their beginnings."""
        self.trace.end(self.ledger, now)
        written = self._telemetry.book.trace(trace_id_of(PARENT))
        return sorted(written, key=lambda span: (ORDER.index(span.name), span.begin_ns))


def test_a_turn_that_was_told_shows_its_way_to_the_replica() -> None:
    writing = Writing()
    request = writing.trace.seek(1.0)
    request.found("r1", 1.5)
    request.welcomed(2.0)
    writing.say(SPEECH, Ask(1), Commit(1))
    writing.ledger.tell(Told(1, ReplyEnd()))
    turn, tried, reserve, welcome = writing.end()
    assert tuple(span.name for span in (turn, tried, reserve, welcome)) == ORDER
    assert turn.parent_id == "0123456789abcdef"
    assert (tried.parent_id, reserve.parent_id, welcome.parent_id) == (turn.span_id, tried.span_id, tried.span_id)
    assert trace_id_of(request.carrier) == turn.trace_id
    assert reserve.end_ns < welcome.begin_ns
    assert (turn.duration_ms, turn.error) == (8000 - 0.002, "")
    expected = {names.ATTEMPT_OUTCOME: "told", names.REPLICAS_TRIED: 1, names.SPEECH_BYTES: len(encode(SPEECH))}
    assert {name: turn.attributes[name] for name in expected} == expected
    assert all(span.attributes[names.TURN_ID] == "t" for span in (turn, tried, reserve, welcome))
    assert "secret" not in str((turn, tried, reserve, welcome))


def test_a_replica_that_fails_is_linked_from_the_next_with_its_reason() -> None:
    writing = Writing()
    first = writing.trace.seek(1.0)
    first.found("r1", 1.5)
    gone = BackendUnavailable("the replica r1 is gone")
    gone.__cause__ = TimeoutError("whatever it says")
    first.fail(gone, 3.0)
    second = writing.trace.seek(3.0)
    second.found("r2", 3.5)
    second.welcomed(4.0)
    writing.say(SPEECH, Ask(1), Commit(1))
    one, other = [span for span in writing.end() if span.name == names.REPLICA_REQUEST]
    assert (one.error, one.attributes[names.ERROR_TYPE]) == ("unavailable: TimeoutError", "unavailable")
    assert (one.attributes[names.REPLICA_ID], other.attributes[names.REPLICA_ID]) == ("r1", "r2")
    assert other.links == ((one.trace_id, one.span_id),)
    assert (other.attributes[names.RETRY_REASON], other.error) == ("unavailable", "")
    assert one.end_ns < other.begin_ns


def test_a_refusal_that_comes_after_the_next_question_is_of_no_account() -> None:
    writing = Writing()
    request = writing.trace.seek(1.0)
    request.found("r1", 1.5)
    writing.say(SPEECH, Ask(1), RollBack(1), Ask(2), Commit(2))
    writing.ledger.tell(Refused(1, "unavailable", "it failed when nobody waited for it any more"))
    writing.ledger.tell(Told(2, ReplyEnd()))
    turn, *_ = writing.end()
    assert (turn.error, turn.attributes[names.ATTEMPT_OUTCOME]) == ("", "told")


def test_a_refused_turn_shows_its_refusal_though_nothing_was_asked() -> None:
    writing = Writing()
    full = AtCapacity("all places are taken", retry_after_sec=1.0)
    writing.trace.seek(1.0).fail(full, 2.0)
    writing.trace.fail(full, 2.0)
    turn, tried, _ = writing.end(2.0)
    assert (turn.error, tried.error) == ("at_capacity", "at_capacity")
    assert (turn.attributes[names.ATTEMPT_OUTCOME], turn.attributes[names.ERROR_TYPE]) == ("refused", "at_capacity")


def test_a_caller_who_asked_nothing_leaves_nothing() -> None:
    writing = Writing()
    writing.trace.seek(1.0).found("r1", 1.5)
    writing.say(SPEECH)
    assert writing.end() == []


def test_what_a_caller_gave_up_is_told_from_what_was_cut() -> None:
    early, late = Writing(), Writing()
    early.say(SPEECH, Ask(1), RollBack(1))
    late.say(SPEECH, Ask(1), Commit(1))
    outcomes = [writing.end()[0].attributes[names.ATTEMPT_OUTCOME] for writing in (early, late)]
    assert outcomes == ["rolled_back", "cancelled"]


def test_a_fault_is_blamed_on_the_replica_or_on_the_caller() -> None:
    replicas, callers = Writing(), Writing()
    for writing in (replicas, callers):
        writing.trace.seek(1.0).found("r1", 1.5)
        writing.say(SPEECH, Ask(1))
    replicas.trace.fail(BackendError("the second replica answers in other words: a secret"), 2.0)
    callers.trace.fail(InvalidRequest("expected Ask", code="out_of_order"), 2.0)
    theirs, ours = replicas.end(), callers.end()
    assert [span.error for span in theirs if span.name == names.REPLICA_REQUEST] == ["failed"]
    assert [span.error for span in ours if span.name == names.REPLICA_REQUEST] == [""]
    assert (theirs[0].error, ours[0].error) == ("failed", "out_of_order")
