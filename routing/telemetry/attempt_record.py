"""One reply that was asked of one backend, as it is written down: when it was asked, what came of it, how it ended."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from routing.errors import AtCapacity, BackendError, InvalidRequest, UnsuitedTurn
from routing.telemetry import names
from routing.telemetry.phase import Attribute, Carrier, Phase, in_sequence
from routing.track import why
from routing.turns import AudioChunk, Heard, ReplyEnd, ReplyEvent, TextDelta, ToolCall, Turn

type AttemptOutcome = Literal["told", "rolled_back", "cancelled", "failed", "refused"]
"""Told to its end; closed before its turn was over; closed after it; broken down; or not taken at all."""

TOTAL: Final = "total"  # in `ReplyEnd.timings_ms`: no phase, but the time of all together
REST: Final = "rest"
MOST_LINKS: Final = 16
MOST_CHARACTERS: Final = 4096  # of what is kept of a conversation


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFigures:
    """One attempt for those who count.

    Args:
        backend: the name of whoever was asked
        model: what it runs
        asked_at: a moment of the event loop's clock
        first_sec: from the asking to its first word or sound; None where nothing came
        first_sound_sec: likewise, to its first sound
        duration_sec: from the asking to its end. One that is speculative is held back until the turn is over
        sound_sec: of the sound that came
        output_tokens: steps of the model; 0 where they are not counted
        is_speculative: whether it was asked before the turn was over
        carrier: of its span; empty where nobody traces
    """

    backend: str
    model: str
    outcome: AttemptOutcome
    asked_at: float
    first_sec: float | None
    first_sound_sec: float | None
    duration_sec: float
    sound_sec: float
    input_tokens: int
    output_tokens: int
    is_speculative: bool
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    carrier: Carrier = field(default_factory=dict)

    @property
    def counted(self) -> bool:
        """Whether it was the answer that its turn got: somebody waited for it."""
        return self.outcome in {"told", "cancelled"}


class AttemptRecord:
    """Collects what is seen of an attempt from outside. Moments are seconds on the event loop's clock.

    Args:
        number: of the reply, among those that were asked of one exchange, from 1
        carrier: of the span that stands for it
        keeps_words: what was said and answered is written too, as an operator asked for
    """

    def __init__(
        self, *, number: int, asked_at: float, is_speculative: bool, carrier: Carrier, keeps_words: bool = False
    ) -> None:
        self.number = number
        self.asked_at = asked_at
        self.is_speculative = is_speculative
        self.carrier = carrier
        self.links: list[Carrier] = []  # of the batches that admitted it
        self.outcome: AttemptOutcome | None = None  # None while it is open, or may still be rolled back
        self.ended_at: float | None = None
        self.fault: Exception | None = None
        self.end: ReplyEnd | None = None
        self.sound_sec = 0.0
        self._seen: dict[str, float] = {}  # the moments of what came first, in their order
        self._keeps_words = keeps_words
        self._said = ""
        self._answered = ""

    # -- while it lasts ------------------------------------------------------------------------------------------------

    def take(self, event: ReplyEvent, now: float) -> None:
        """It told this."""
        match event:
            case AudioChunk():
                self.sound_sec += event.duration_sec
                self._see("first_audio", now)
            case TextDelta(text):
                self._see("first_text", now)
                self._keep("", text)
            case Heard(text, is_final=True):
                self._see("transcribe", now)
                self._keep(text, "")
            case ToolCall():
                self._see("tool_call", now)
            case ReplyEnd():
                self.end, self.ended_at = event, now

    def _see(self, what: str, now: float) -> None:
        if what not in self._seen:
            self._seen[what] = now

    def _keep(self, said: str, answered: str) -> None:
        if self._keeps_words and len(self._said) + len(self._answered) < MOST_CHARACTERS:
            self._said += said
            self._answered += answered

    def link(self, batch: Carrier) -> None:
        """A batch admitted it. Of a model that takes a turn in many batches, the first ones will do."""
        if len(self.links) < MOST_LINKS:
            self.links.append(batch)

    def close(self, now: float, *, is_committed: bool) -> None:
        """Nothing more comes of it. One that ended by itself before its turn did may still be the one that counts."""
        self.ended_at = now if self.ended_at is None else self.ended_at
        if self.fault is not None:
            self.outcome = "refused" if isinstance(self.fault, _REFUSALS) else "failed"
        elif self.end is None:
            self.outcome = "cancelled" if is_committed else "rolled_back"
        elif is_committed:
            self.outcome = "told"

    def settle(self, *, is_committed: bool) -> None:
        """It ended by itself; now it is known whether it was the one that counts."""
        if self.outcome is None and self.ended_at is not None:
            self.outcome = "told" if is_committed else "rolled_back"

    # -- what came of it -----------------------------------------------------------------------------------------------

    @property
    def is_told(self) -> bool:
        """Whether it came to its end, be it wanted or not."""
        return self.end is not None and self.fault is None

    @property
    def first_sec(self) -> float | None:
        return self._after(*(self._seen[name] for name in _ANSWERS if name in self._seen))

    @property
    def first_sound_sec(self) -> float | None:
        return self._after(*(self._seen[name] for name in ("first_audio",) if name in self._seen))

    def _after(self, *moments: float) -> float | None:
        return min(moments) - self.asked_at if moments else None

    @property
    def last_moment(self) -> float:
        assert self.ended_at is not None, "an attempt is written down when it is over"
        return self.ended_at

    @property
    def error(self) -> str | None:
        """Why it failed, in an operator's words: what the backend wrote might quote the caller."""
        if self.fault is None:
            return None
        return why(self.fault) if isinstance(self.fault, BackendError | InvalidRequest) else "failed"

    def phases(self) -> tuple[Phase, ...]:
        """Its work, as the backend tells; of one that never came to its end, what could be seen of it."""
        told = self.end.timings_ms if self.end else {}
        durations_ms = dict(_named(told) if told else self._observed())
        phases = in_sequence(self.asked_at, durations_ms, until=self.last_moment)
        return _linked(phases, tuple(self.links))

    def _observed(self) -> Iterator[tuple[str, float]]:
        begin = self.asked_at
        for name, moment in self._seen.items():
            yield names.PHASES.get(name, name), 1000 * (moment - begin)
            begin = moment
        if self.first_sec is not None and self.last_moment > begin:  # one that never began may have been held back
            yield names.STREAM, 1000 * (self.last_moment - begin)

    def attributes(self) -> dict[str, Attribute]:
        first_sound_sec = self.first_sound_sec
        return {
            names.ATTEMPT: self.number,
            names.ATTEMPT_OUTCOME: self.outcome,
            names.ATTEMPT_SPECULATIVE: self.is_speculative,
            names.FIRST_SOUND_MS: None if first_sound_sec is None else round(1000 * first_sound_sec),
            names.ERROR_TYPE: None if self.fault is None else type(self.fault).__name__,
        }

    def content(self) -> dict[str, Attribute]:
        """What was said and answered, as the conventions write it; nothing unless it was to be kept."""
        return {
            names.CONTENT_INPUT: _message("user", self._said),
            names.CONTENT_OUTPUT: _message("assistant", self._answered),
        }

    def figures(self, *, backend: str, model: str) -> AttemptFigures:
        assert self.outcome is not None, "an attempt is counted when it is over"
        return AttemptFigures(
            backend=backend,
            model=model,
            outcome=self.outcome,
            asked_at=self.asked_at,
            first_sec=self.first_sec,
            first_sound_sec=self.first_sound_sec,
            duration_sec=self.last_moment - self.asked_at,
            sound_sec=self.sound_sec,
            input_tokens=self.end.input_tokens if self.end else 0,
            output_tokens=self.end.output_tokens if self.end else 0,
            is_speculative=self.is_speculative,
            timings_ms=self.end.timings_ms if self.end else {},
            carrier=self.carrier,
        )


def model_attributes(record: AttemptRecord, turn: Turn, model: str) -> dict[str, Attribute]:
    """What belongs on the span of a model's call, and on no other."""
    queue_ms = record.end.timings_ms.get("queue") if record.end else None
    return {
        **record.attributes(),
        **record.content(),
        names.GENAI_OPERATION: names.GENERATE,
        names.GENAI_PROVIDER: names.NAMESPACE,
        names.GENAI_MODEL: model,
        names.GENAI_OUTPUT_TYPE: "speech" if turn.modality == "audio" else "text",
        names.GENAI_FIRST_CHUNK: record.first_sec,
        names.GENAI_INPUT_TOKENS: (record.end.input_tokens or None) if record.end else None,
        names.GENAI_OUTPUT_TOKENS: (record.end.output_tokens or None) if record.end else None,
        names.QUEUE_WAIT_MS: None if queue_ms is None else round(queue_ms),
        names.LATENCY_QUEUE: _seconds(record, "queue"),
        names.LATENCY_FIRST_TOKEN: record.first_sec,
        names.LATENCY_PREFILL: _seconds(record, "encode", "prefill"),
        names.LATENCY_DECODE: _seconds(record, "first_text", "first_audio", "rest"),
        names.LATENCY_TOTAL: record.last_moment - record.asked_at,
    }


def _message(role: str, text: str) -> str | None:
    parts = [{"type": "text", "content": text}]
    return json.dumps([{"role": role, "parts": parts}], ensure_ascii=False) if text else None


def _seconds(record: AttemptRecord, *phases: str) -> float | None:
    """What these phases took together; None where the backend tells of none of them."""
    told = record.end.timings_ms if record.end else {}
    known = [told[phase] / 1000 for phase in phases if phase in told]
    return sum(known) if known else None


_REFUSALS = (AtCapacity, UnsuitedTurn, InvalidRequest)
_ANSWERS = ("first_text", "first_audio", "tool_call")


def _named(timings_ms: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """The phases by the names of their spans; what none of them accounts for, behind them, is the rest."""
    work = {name: duration for name, duration in timings_ms.items() if name != TOTAL}
    for name, duration in work.items():
        yield names.PHASES.get(name, name), duration
    rest = timings_ms.get(TOTAL, 0.0) - sum(work.values())
    if REST not in work and rest > 0:
        yield names.STREAM, rest


def _linked(phases: tuple[Phase, ...], links: tuple[Carrier, ...]) -> tuple[Phase, ...]:
    """The batch that admitted a turn ended its wait; where that is not known, it is there at the work's beginning."""
    if not links or not phases:
        return phases
    place = next((place for place, phase in enumerate(phases) if phase.name == names.QUEUE_WAIT), 0)
    return (*phases[:place], replace(phases[place], links=links), *phases[place + 1 :])
