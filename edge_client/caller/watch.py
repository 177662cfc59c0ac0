"""One turn as the server's events tell it: what it understood, what it answered, what it measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FINAL = frozenset({"completed", "incomplete", "failed"})  # a cancelled response is followed by another one


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerNumbers:
    """What an Antiphon edge adds to ``response.done`` about the turn. Other servers add nothing."""

    timings_ms: Mapping[str, float] = field(default_factory=dict)
    placement: Mapping[str, Any] = field(default_factory=dict)
    end_reason: str | None = None
    turn_id: str | None = None
    trace_id: str | None = None

    @property
    def endpoint_wait_ms(self) -> float | None:
        return self.timings_ms.get("endpoint_wait")

    @property
    def ttfa_ms(self) -> float | None:
        return self.timings_ms.get("ttfa")


@dataclass(slots=True)
class _Response:
    """One response of the server, as far as it was told."""

    text: str = ""
    status: str = "in_progress"
    reason: str | None = None
    played: bool = False  # the server has said that its last sound was sent
    numbers: ServerNumbers | None = None  # until it is done


class TurnWatch:
    """Follows one turn through the server's events, from the moment the caller begins to speak.

    Events of responses that were created before are those of the turn before: they are ignored.
    """

    def __init__(self) -> None:
        self._responses: dict[str, _Response] = {}
        self._transcripts: dict[str, str] = {}
        self._sealed = False
        self.errors: list[str] = []
        self.traced: Mapping[str, Any] | None = None  # the trace of the turn, once an Antiphon edge has told it

    def seal(self) -> None:
        """The next turn has begun: go on following the responses known by now, and nothing new."""
        self._sealed = True

    def feed(self, event: Mapping[str, Any]) -> None:
        """Take the next event. Unknown ones, and fields of an unexpected shape, are ignored."""
        match event:
            case {"type": "response.done", "response": {"id": str(response_id)}}:
                self._finish(response_id, event["response"], event)
            case {"type": "antiphon.turn.traced", "turn_id": str(turn_id)}:
                self.traced = event if turn_id == self.numbers.turn_id else self.traced
            case {"type": str(kind), "response_id": str(response_id)} if response_id in self._responses:
                _continue(self._responses[response_id], kind, event)
            case _ if not self._sealed:
                self._begin(event)

    def _begin(self, event: Mapping[str, Any]) -> None:
        match event:
            case {"type": "conversation.item.input_audio_transcription.completed", "transcript": str(text)}:
                self._transcripts[str(event.get("item_id"))] = text.strip()
            case {"type": "response.created", "response": {"id": str(response_id)}}:
                self._responses[response_id] = _Response()
            case {"type": "error", "error": {"message": str(message)}}:
                self.errors.append(message)

    def _finish(self, response_id: str, fields: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        response = self._responses.get(response_id)
        if response is None:
            return
        response.status = str(fields.get("status"))
        details = fields.get("status_details")
        response.reason = _reason(details) if isinstance(details, Mapping) else None
        response.numbers = numbers_of(event)
        if response.status == "failed":
            self.errors.append(response.reason or "the response failed")

    @property
    def transcript(self) -> str:
        """What the server understood; pieces in the order they came where it heard more than one utterance."""
        return " ".join(text for text in self._transcripts.values() if text)

    @property
    def answer(self) -> str:
        """The words of the reply, or of all replies where there were several."""
        return " ".join(r.text.strip() for r in self._responses.values() if r.text.strip())

    @property
    def numbers(self) -> ServerNumbers:
        """The server's own figures for the last response that had any."""
        told = [r.numbers for r in self._responses.values() if r.numbers is not None]
        return told[-1] if told else ServerNumbers()

    @property
    def finished(self) -> bool:
        """Whether the newest response is complete and none is open: nothing more is to be expected of this turn."""
        statuses = [r.status for r in self._responses.values()]
        return bool(statuses) and statuses[-1] in FINAL and "in_progress" not in statuses

    @property
    def done(self) -> bool:
        """Whether no response is open, however the newest ended."""
        return bool(self._responses) and all(r.status != "in_progress" for r in self._responses.values())

    @property
    def played(self) -> bool:
        """Whether the server has said that all sound of the newest response was sent. Not every server says so."""
        return bool(self._responses) and list(self._responses.values())[-1].played


def _continue(response: _Response, kind: str, event: Mapping[str, Any]) -> None:
    match kind:
        case "response.output_audio_transcript.delta" | "response.output_text.delta":
            response.text += str(event.get("delta", ""))
        case "response.output_audio_transcript.done":
            response.text = str(event.get("transcript") or response.text)
        case "response.output_text.done":
            response.text = str(event.get("text") or response.text)
        case "output_audio_buffer.stopped" | "output_audio_buffer.cleared":
            response.played = True


def _reason(details: Mapping[str, Any]) -> str | None:
    error = details.get("error")
    fields = error if isinstance(error, Mapping) else {}
    reason = fields.get("message") or fields.get("code") or details.get("reason")
    return str(reason) if reason else None


def numbers_of(done: Mapping[str, Any]) -> ServerNumbers:
    """What a ``response.done`` event tells of its turn: nothing, where the server is not ours."""
    response = done.get("response")
    inside = response.get("antiphon") if isinstance(response, Mapping) else None
    match inside or done.get("antiphon"):
        case {"turn": {**turn}}:
            return ServerNumbers(
                timings_ms=_milliseconds(turn.get("timings_ms")),
                placement=_fields(turn.get("placement")),
                end_reason=str(turn["end_reason"]) if turn.get("end_reason") else None,
                turn_id=str(turn["turn_id"]) if turn.get("turn_id") else None,
                trace_id=str(turn["trace_id"]) if turn.get("trace_id") else None,
            )
    return ServerNumbers()


def _milliseconds(timings: object) -> dict[str, float]:
    return {name: float(ms) for name, ms in _fields(timings).items() if isinstance(ms, int | float)}


def _fields(value: object) -> dict[str, Any]:
    return {str(name): field for name, field in value.items()} if isinstance(value, Mapping) else {}
