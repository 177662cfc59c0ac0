"""What a turn's trace tells of the ingress: the turn itself, and each replica that was tried for it."""

from __future__ import annotations

from collections.abc import Mapping

from deployments.turn_ledger import TurnLedger
from routing.errors import AntiphonError, BackendError
from routing.refusal import code_of
from routing.telemetry import names
from routing.telemetry.phase import Attribute, Carrier, Phase
from routing.telemetry.spans import Spans
from routing.telemetry.traced_backend import turn_attributes
from routing.turns import Turn

REFUSALS = {"at_capacity", "unavailable"}


class RelayTrace:
    """Collects moments of the event loop's clock while a turn goes on. All is written when it is over.

    Nothing is written of a turn of which nothing was asked, unless it failed: a caller who only coughed leaves no
    trace anywhere.

    Args:
        parent: the span at the caller's side that the turn belongs to; without one it is a trace of its own
        now: when the turn came in
    """

    def __init__(self, spans: Spans, turn: Turn, *, parent: Carrier, now: float) -> None:
        self._spans = spans
        self._common: Mapping[str, Attribute] = turn_attributes(turn)
        self._span = spans.begin(names.INGRESS_TURN, at=now, parent=parent, kind="server", attributes=self._common)
        self._requests: list[ReplicaRequest] = []
        self._fault: AntiphonError | None = None

    def seek(self, now: float) -> ReplicaRequest:
        """A replica is looked for; another one, where there was one before."""
        before = self._requests[-1] if self._requests else None
        request = ReplicaRequest(self._spans, self._span.carrier, self._common, before=before, now=now)
        self._requests.append(request)
        return request

    def fail(self, error: AntiphonError, now: float) -> None:
        """The turn cannot be answered: because of a replica, or of the caller."""
        self._fault = self._fault or error
        if isinstance(error, BackendError) and self._requests and self._requests[-1].reason is None:
            self._requests[-1].fail(error, now)

    def end(self, ledger: TurnLedger, now: float) -> None:
        """The turn is over, as far as ``ledger`` says."""
        reason = code_of(self._fault) if self._fault else ledger.refused_as
        if not ledger.was_asked and not reason:
            return
        for request in self._requests:
            request.write(now)
        self._span.end(
            at=now,
            attributes={
                names.ATTEMPT_OUTCOME: _outcome(ledger, reason),
                names.ERROR_TYPE: reason or None,
                names.REPLICAS_TRIED: len(self._requests),
                names.SPEECH_BYTES: ledger.speech_bytes,
            },
            error=reason or None,
        )


class ReplicaRequest:
    """One replica that is asked to take the turn. What it writes itself belongs to ``carrier``."""

    def __init__(
        self,
        spans: Spans,
        parent: Carrier,
        common: Mapping[str, Attribute],
        *,
        before: ReplicaRequest | None,
        now: float,
    ) -> None:
        self._spans = spans
        self._common = common
        self._span = spans.begin(
            names.REPLICA_REQUEST,
            at=now,
            parent=parent,
            kind="client",
            attributes={**common, names.RETRY_REASON: before.reason if before else None},
            links=[before.carrier] if before else [],
        )
        self.carrier: Carrier = self._span.carrier
        self.reason: str | None = None  # why it did not do
        self._replica: str | None = None
        self._begun = now
        self._found: float | None = None
        self._welcomed: float | None = None
        self._failed: float | None = None
        self._fault: BackendError | None = None

    def found(self, replica: str, now: float) -> None:
        """There is a place at this one."""
        self._replica, self._found = replica, now

    def welcomed(self, now: float) -> None:
        """It has taken the turn in."""
        self._welcomed = now

    def fail(self, error: BackendError, now: float) -> None:
        """Another one is needed."""
        self.reason, self._failed, self._fault = code_of(error), now, error

    def write(self, now: float) -> None:
        """The turn is over."""
        end = now if self._failed is None else self._failed
        self._spans.write(self._waits(end), parent=self.carrier, attributes=self._common)
        attributes = {names.REPLICA_ID: self._replica, names.ERROR_TYPE: self.reason}
        self._span.end(at=end, attributes=attributes, error=self._described())

    def _waits(self, end: float) -> list[Phase]:
        """For a place, and for a welcome; the last one until the end, where nothing came of it."""
        found = end if self._found is None else self._found
        waits = [Phase(name=names.REPLICA_RESERVE, begin=self._begun, end=found)]
        if self._found is not None:
            welcomed = end if self._welcomed is None else self._welcomed
            waits.append(Phase(name=names.REPLICA_WELCOME, begin=self._found, end=welcomed))
        return waits

    def _described(self) -> str | None:
        """The kind of the fault, and of what was behind it. Its text may be anybody's."""
        if self._fault is None:
            return None
        cause = self._fault.__cause__
        return f"{self.reason}: {type(cause).__name__}" if cause else self.reason


def _outcome(ledger: TurnLedger, reason: str) -> str:
    if reason:
        return "refused" if reason in REFUSALS else "failed"
    if ledger.is_over:
        return "told"
    return "cancelled" if ledger.committed else "rolled_back"
