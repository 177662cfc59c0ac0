"""A backend whose every attempt at an answer is written down as spans, and which else is the one that it wraps.

Nothing is written while an answer is on its way: spans are begun where their carriers must travel, and all that is
known of the attempts is written when the turn is left.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from routing.telemetry import names
from routing.telemetry.attempt_record import AttemptFigures, AttemptRecord, model_attributes
from routing.telemetry.phase import Attribute, Carrier, Kind, Phase
from routing.telemetry.spans import LiveSpan, Spans
from routing.turns import AudioChunk, Backend, Exchange, Heard, ReplyEvent, Turn

__all__ = ["AttemptFigures", "Journey", "OpenTurns", "TracedBackend", "Travelled", "turn_attributes"]


logger = logging.getLogger(__name__)

MOST_UNWRITTEN = 8  # attempts of one exchange: who never stops pausing is written while they speak


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """How a turn got to a backend elsewhere: what took its time, and who took it in there."""

    phases: tuple[Phase, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@runtime_checkable
class Travelled(Protocol):
    """An exchange that can tell of its way."""

    def journey(self) -> Journey:
        """What is known so far."""
        ...


def turn_attributes(turn: Turn) -> dict[str, Attribute]:
    """What is on every span of a turn."""
    return {
        names.SESSION_ID: turn.session_id,
        names.CONVERSATION_ID: turn.session_id,
        names.TURN_ID: turn.turn_id,
        names.TURN_INDEX: turn.index,
    }


class TracedBackend:
    """Passes turns, events and errors through as they are; see `routing.turns.Backend`.

    A model that runs in this process gets a span for each attempt, whose phases are those of `ReplyEnd.timings_ms`. For
    a backend elsewhere there is one for the exchange: its carrier takes the place of the turn's, and what is done there
    is written there. An exchange of which no reply was ever asked writes nothing, nor does a turn without a carrier.

    Args:
        model: what answers, for names of spans and for those who count; the backend's name if empty
        is_remote: it is elsewhere
        kind: of an attempt's span
        tells_phases: whether what `ReplyEnd.timings_ms` tells of an attempt elsewhere is written, as nobody there does
        state: how busy the model is, as attributes; looked at when an attempt is asked of one in this process
        on_attempt: gets the figures of each attempt, once, when it is over
        open_turns: shared by those who may go on for each other
        content: also what was said and answered is written, where nobody else writes it
    """

    def __init__(
        self,
        backend: Backend,
        *,
        spans: Spans,
        model: str = "",
        is_remote: bool = False,
        kind: Kind = "internal",
        tells_phases: bool = False,
        state: Callable[[], Mapping[str, Attribute]] = dict,
        on_attempt: Callable[[AttemptFigures], None] | None = None,
        open_turns: OpenTurns | None = None,
        content: bool = False,
    ) -> None:
        self.name = backend.name
        self._backend = backend
        self._spans = spans
        self._model = model or backend.name
        self._is_remote = is_remote
        self._kind = kind
        self._tells_phases = tells_phases
        self._state = state
        self._on_attempt = on_attempt
        self._open_turns = open_turns or OpenTurns()
        self._content = content and (tells_phases or not is_remote)

    def open(self, turn: Turn, *, on_heard: Callable[[Heard], None]) -> AbstractAsyncContextManager[Exchange]:
        """See `routing.turns.Backend`."""
        if not turn.trace_context and self._on_attempt is None:
            return self._backend.open(turn, on_heard=on_heard)
        return self._traced(turn, on_heard)

    @asynccontextmanager
    async def _traced(self, turn: Turn, on_heard: Callable[[Heard], None]) -> AsyncIterator[Exchange]:
        trace = self._trace(turn)
        with self._open_turns.holding(trace):
            try:
                async with self._backend.open(trace.turn, on_heard=on_heard) as exchange:
                    trace.journey = _journey_of(exchange)
                    yield TracedExchange(exchange, trace)
            finally:
                trace.leave(_now())

    def _trace(self, turn: Turn) -> ExchangeTrace:
        spans = self._spans if turn.trace_context else Spans.silent()
        return ExchangeTrace(
            turn,
            backend=self.name,
            model=self._model,
            scribe=self._remote_scribe(turn, spans) if self._is_remote else self._local_scribe(turn, spans),
            on_attempt=self._on_attempt,
            open_turns=self._open_turns,
            content=self._content,
        )

    def _local_scribe(self, turn: Turn, spans: Spans) -> Scribe:
        return LocalScribe(turn, spans, model=self._model, kind=self._kind, state=self._state)

    def _remote_scribe(self, turn: Turn, spans: Spans) -> Scribe:
        before = self._open_turns.speaker(turn.turn_id) if turn.script is not None else None
        return RemoteScribe(turn, spans, at=_now(), before=before, tells_phases=self._tells_phases)

    # -- for the model behind it ---------------------------------------------------------------------------------------

    def attempt_carrier(self, turn_id: str) -> Carrier | None:
        """The carrier of the attempt at a turn that is open here; None where there is none."""
        attempt = self._attempt(turn_id)
        return attempt.carrier if attempt else None

    def link_admission(self, turn_id: str, carrier: Carrier) -> None:
        """The open attempt was admitted by the batch with this carrier: its wait in the queue links to it."""
        if attempt := self._attempt(turn_id):
            attempt.link(carrier)

    def _attempt(self, turn_id: str) -> AttemptRecord | None:
        traces = [trace for trace in self._open_turns.of(turn_id) if trace.backend == self.name and trace.attempt]
        return traces[-1].attempt if traces else None


class TracedExchange:
    """See `routing.turns.Exchange`. Made by `TracedBackend.open`."""

    def __init__(self, exchange: Exchange, trace: ExchangeTrace) -> None:
        self._exchange = exchange
        self._trace = trace

    def feed(self, chunk: AudioChunk) -> None:
        self._trace.is_spoken = True
        self._exchange.feed(chunk)

    def commit(self) -> None:
        self._exchange.commit()
        self._trace.commit(_now())

    def reply(self) -> AsyncGenerator[ReplyEvent]:
        """See `routing.turns.Exchange`."""
        return self._told(self._exchange.reply())

    async def _told(self, reply: AsyncGenerator[ReplyEvent]) -> AsyncGenerator[ReplyEvent]:
        attempt = self._trace.begin(_now())
        try:
            async with aclosing(reply) as events:
                async for event in events:
                    attempt.take(event, _now())
                    yield event
            if not attempt.is_told:
                attempt.fault = EndlessReply("the reply has no end")
        except Exception as error:
            attempt.fault = error
            raise
        finally:
            self._trace.end(attempt, _now())


class EndlessReply(Exception):
    """Never raised: a reply stopped without its end, which whoever reads it finds out by itself."""


# -- what is written of one exchange -----------------------------------------------------------------------------------


class ExchangeTrace:
    """The attempts of one exchange, each of which is written and told once. ``turn`` is for the wrapped backend."""

    def __init__(
        self,
        turn: Turn,
        *,
        backend: str,
        model: str,
        scribe: Scribe,
        on_attempt: Callable[[AttemptFigures], None] | None,
        open_turns: OpenTurns,
        content: bool,
    ) -> None:
        self.turn = replace(turn, trace_context=scribe.turn_carrier)
        self.backend = backend
        self.committed_at: float | None = None
        self.is_spoken = False
        self.journey: Callable[[], Journey] = Journey  # nothing is known before the exchange is open
        self._model = model
        self._scribe = scribe
        self._on_attempt = on_attempt
        self._open_turns = open_turns
        self._content = content
        self._asked = 0
        self._open: list[AttemptRecord] = []
        self._ended: list[AttemptRecord] = []  # and not written yet, the oldest first
        self._carrier: Carrier = {}

    @property
    def attempt(self) -> AttemptRecord | None:
        """The one that is open."""
        return self._open[-1] if self._open else None

    @property
    def carrier(self) -> Carrier:
        """Of the attempt that was asked last."""
        return self._carrier

    def begin(self, now: float) -> AttemptRecord:
        """A reply is asked for; whatever was told before is rolled back."""
        self._settle()
        self._asked += 1
        speaker = self._open_turns.speaker(self.turn.turn_id)
        self._carrier = self._scribe.begin(now, speaker if speaker is not self else None)
        attempt = AttemptRecord(
            number=self._asked,
            asked_at=now,
            is_speculative=self.is_spoken and speaker is None,  # what is typed is over when it is asked
            carrier=self._carrier,
            keeps_words=self._content,
        )
        self._open.append(attempt)
        return attempt

    def commit(self, now: float) -> None:
        """The turn is over."""
        self.committed_at = now

    def end(self, attempt: AttemptRecord, now: float) -> None:
        """Nothing more comes of an attempt."""
        if attempt not in self._open:
            return
        self._open.remove(attempt)
        attempt.close(now, is_committed=self.committed_at is not None)
        self._ended.append(attempt)
        if len(self._ended) > MOST_UNWRITTEN:
            self._finish(self._ended.pop(0))

    def leave(self, now: float) -> None:
        """The exchange is over, and with it whatever is said: there is time to write."""
        for attempt in list(self._open):
            self.end(attempt, now)
        while self._ended:
            self._finish(self._ended.pop(0))
        if self._asked:
            with _no_turn_lost():
                self._scribe.leave(now, self.journey())

    def _settle(self) -> None:
        for attempt in self._ended:
            attempt.settle(is_committed=self.committed_at is not None)

    def _finish(self, attempt: AttemptRecord) -> None:
        attempt.settle(is_committed=self.committed_at is not None)
        with _no_turn_lost():
            self._scribe.write(attempt)
            if self._on_attempt:
                self._on_attempt(attempt.figures(backend=self.backend, model=self._model))


@contextmanager
def _no_turn_lost() -> Iterator[None]:
    """A fault of whoever writes or counts is no fault of the turn."""
    try:
        yield
    except Exception:
        logger.exception("an attempt at a turn could not be written down")


class Scribe(Protocol):
    """Writes the attempts of one exchange. ``turn_carrier`` is what the wrapped backend's turn carries."""

    turn_carrier: Carrier

    def begin(self, now: float, before: ExchangeTrace | None) -> Carrier:
        """An attempt is asked for, ``before`` having spoken until now. What travels to whoever writes more of it."""
        ...

    def write(self, attempt: AttemptRecord) -> None:
        """It is over."""
        ...

    def leave(self, now: float, journey: Journey) -> None:
        """The exchange is over, of which some reply was asked."""
        ...


class LocalScribe:
    """A span for each attempt."""

    def __init__(
        self, turn: Turn, spans: Spans, *, model: str, kind: Kind, state: Callable[[], Mapping[str, Attribute]]
    ) -> None:
        self.turn_carrier = turn.trace_context
        self._turn = turn
        self._spans = spans
        self._model = model
        self._kind: Kind = kind
        self._state = state
        self._live: list[LiveSpan] = []

    def begin(self, now: float, before: ExchangeTrace | None) -> Carrier:
        span = self._spans.begin(
            f"{names.GENERATE} {self._model}",
            at=now,
            parent=self._turn.trace_context,
            kind=self._kind,
            attributes={**turn_attributes(self._turn), **self._state(), **_continuing(before)},
            links=_links(before),
        )
        self._live.append(span)
        return span.carrier

    def write(self, attempt: AttemptRecord) -> None:
        span = next(span for span in self._live if span.carrier is attempt.carrier)
        self._live.remove(span)
        self._spans.write(attempt.phases(), parent=span.carrier, attributes=turn_attributes(self._turn))
        attributes = model_attributes(attempt, self._turn, self._model)
        span.end(at=attempt.last_moment, attributes=attributes, error=attempt.error)

    def leave(self, now: float, journey: Journey) -> None:
        """Every attempt is written already."""


class RemoteScribe:
    """A span for the exchange, and in it what is seen from here of each attempt."""

    def __init__(
        self, turn: Turn, spans: Spans, *, at: float, before: ExchangeTrace | None, tells_phases: bool
    ) -> None:
        self._turn = turn
        self._spans = spans
        self._tells_phases = tells_phases
        self._request = spans.begin(
            names.INFER_REQUEST,
            at=at,
            parent=turn.trace_context,
            kind="client",
            attributes={**turn_attributes(turn), **_continuing(before)},
            links=_links(before),
        )
        self.turn_carrier = self._request.carrier
        self._before: list[ExchangeTrace | None] = []  # of each attempt
        self._phases: list[Phase] = []
        self._last: AttemptRecord | None = None

    def begin(self, now: float, before: ExchangeTrace | None) -> Carrier:  # noqa: ARG002 its time is told at its end
        self._before.append(before)
        return self._request.carrier

    def write(self, attempt: AttemptRecord) -> None:
        """All of it is written with the exchange."""
        before = self._before[attempt.number - 1]
        phase = Phase(
            name=names.INFER_ATTEMPT,
            begin=attempt.asked_at,
            end=attempt.last_moment,
            attributes={**attempt.attributes(), **attempt.content(), **_continuing(before)},
            links=tuple(_links(before)),
            error=attempt.error,
            children=attempt.phases() if self._tells_phases else (),
        )
        self._phases.append(phase)
        if self._last is None or attempt.number > self._last.number:
            self._last = attempt

    def leave(self, now: float, journey: Journey) -> None:
        common = turn_attributes(self._turn)
        self._spans.write((*journey.phases, *self._phases), parent=self._request.carrier, attributes=common)
        last = self._last.attributes() if self._last else {}
        self._request.end(
            at=now, attributes={**journey.attributes, **last}, error=self._last.error if self._last else None
        )


def _links(before: ExchangeTrace | None) -> list[Carrier]:
    return [before.carrier] if before else []


def _continuing(before: ExchangeTrace | None) -> dict[str, Attribute]:
    return {names.CONTINUES: before.backend} if before else {}


def _journey_of(exchange: Exchange) -> Callable[[], Journey]:
    return exchange.journey if isinstance(exchange, Travelled) else Journey


# -- what is open ------------------------------------------------------------------------------------------------------


class OpenTurns:
    """The exchanges that are open, by their turns. Those who may go on for each other share one."""

    def __init__(self) -> None:
        self._traces: dict[str, list[ExchangeTrace]] = {}

    @contextmanager
    def holding(self, trace: ExchangeTrace) -> Iterator[None]:
        """It is open until the block ends."""
        traces = self._traces.setdefault(trace.turn.turn_id, [])
        traces.append(trace)
        try:
            yield
        finally:
            traces.remove(trace)
            if not traces:
                del self._traces[trace.turn.turn_id]

    def of(self, turn_id: str) -> list[ExchangeTrace]:
        return self._traces.get(turn_id, [])

    def speaker(self, turn_id: str) -> ExchangeTrace | None:
        """Whose answer is spoken, or was until now."""
        spoke = [trace for trace in self.of(turn_id) if trace.committed_at is not None]
        return max(spoke, key=lambda trace: trace.committed_at or 0.0, default=None)


def _now() -> float:
    return asyncio.get_running_loop().time()
