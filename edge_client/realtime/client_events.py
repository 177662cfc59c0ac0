"""What clients send: one frozen model per event, and how to read one. Fields that are not listed are ignored."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from edge_client.realtime.session_config import AntiphonWishes, AnyTool, Json, Modalities, ToolChoice, invalid
from routing.errors import InvalidRequest
from routing.telemetry.carrier import LONGEST_TRACESTATE, is_traceparent, is_tracestate, plain_carrier
from routing.telemetry.phase import Carrier

MOST_MILLISECONDS = 1e15  # far beyond any clock, and exact to the microsecond
LONGEST_MS = 60_000.0
MOST_PACKETS = 1_000_000
LONGEST_ID = 128


def _traceparent(text: str) -> str:
    if not is_traceparent(text):
        example = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        raise PydanticCustomError("traceparent", f"expected a W3C traceparent such as {example}")
    return text


def _tracestate(text: str) -> str:
    if not is_tracestate(text):
        wanted = f"expected a W3C tracestate such as one=a,two=b of at most {LONGEST_TRACESTATE} characters"
        raise PydanticCustomError("tracestate", wanted)
    return text


class _Event(BaseModel):
    """``traceparent`` and ``tracestate`` say which trace the turn belongs to that comes next."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    event_id: str | None = None
    traceparent: Annotated[str, AfterValidator(_traceparent)] | None = None
    tracestate: Annotated[str, AfterValidator(_tracestate)] | None = None

    @property
    def carrier(self) -> Carrier:
        """The trace that the event carries; empty where it carries none."""
        if self.traceparent is None:  # as of nearly all events, which come often
            return {}
        return plain_carrier({"traceparent": self.traceparent, "tracestate": self.tracestate})


class SessionUpdate(_Event):
    type: Literal["session.update"]
    session: Json


class AppendAudio(_Event):
    type: Literal["input_audio_buffer.append"]
    audio: str


class CommitAudio(_Event):
    type: Literal["input_audio_buffer.commit"]


class ClearAudio(_Event):
    type: Literal["input_audio_buffer.clear"]


class ContentPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    type: str
    text: str | None = None
    transcript: str | None = None
    audio: str | None = None


class MessageInput(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Literal["message"]
    id: str | None = None
    role: Literal["system", "user", "assistant"]
    content: list[ContentPart]


class ToolResultInput(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Literal["function_call_output"]
    id: str | None = None
    call_id: str
    output: str


class ToolCallInput(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Literal["function_call"]
    id: str | None = None
    call_id: str
    name: str
    arguments: str


type ItemInput = Annotated[MessageInput | ToolResultInput | ToolCallInput, Field(discriminator="type")]


class CreateItem(_Event):
    type: Literal["conversation.item.create"]
    previous_item_id: str | None = None
    item: ItemInput


class RetrieveItem(_Event):
    type: Literal["conversation.item.retrieve"]
    item_id: str


class TruncateItem(_Event):
    type: Literal["conversation.item.truncate"]
    item_id: str
    content_index: int = 0
    audio_end_ms: int = Field(ge=0)


class DeleteItem(_Event):
    type: Literal["conversation.item.delete"]
    item_id: str


class ResponseOptions(BaseModel):
    """What one reply may have different from the session. None means: as the session has it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    instructions: str | None = None
    output_modalities: Modalities | None = Field(None, min_length=1)
    tools: list[AnyTool] | None = None
    tool_choice: ToolChoice | None = None
    conversation: Literal["auto"] | None = None
    antiphon: AntiphonWishes = AntiphonWishes()


class CreateResponse(_Event):
    type: Literal["response.create"]
    response: ResponseOptions | None = None


class CancelResponse(_Event):
    type: Literal["response.cancel"]
    response_id: str | None = None


class ClearOutput(_Event):
    type: Literal["output_audio_buffer.clear"]


# -- what only an Antiphon understands ---------------------------------------------------------------------------------

type ClockTime = Annotated[float, Field(strict=True, ge=-MOST_MILLISECONDS, le=MOST_MILLISECONDS, allow_inf_nan=False)]
type Duration = Annotated[float, Field(strict=True, ge=0, lt=LONGEST_MS, allow_inf_nan=False)]


class PingClock(_Event):
    """What time is it at the edge? ``client_ms`` comes back as it is."""

    type: Literal["antiphon.clock.ping"]
    client_ms: ClockTime


class CallersClock(BaseModel):
    """What the caller adds to its own clock to get the edge's, and how wrong that may be."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    offset_ms: ClockTime
    uncertainty_ms: Duration


class ReportTurn(_Event):
    """How a turn was for the caller: moments in milliseconds since 1970 by the edge's clock, and durations."""

    type: Literal["antiphon.turn.report"]
    turn_id: str = Field(min_length=1, max_length=LONGEST_ID)
    speech_end_ms: ClockTime | None = None
    arrived_ms: ClockTime | None = None
    heard_ms: ClockTime | None = None
    jitter_buffer_ms: Duration | None = None
    output_ms: Duration | None = None
    concealed_ms: Duration | None = None
    packets_lost: Annotated[int, Field(strict=True, ge=0, le=MOST_PACKETS)] | None = None
    round_trip_ms: Duration | None = None
    clock: CallersClock | None = None


class RestoreSession(_Event):
    """Go on with the session of a ticket; the first thing that is said on a WebSocket, or it is refused."""

    type: Literal["antiphon.session.restore"]
    ticket: str


type ClientEvent = Annotated[
    SessionUpdate
    | AppendAudio
    | CommitAudio
    | ClearAudio
    | CreateItem
    | RetrieveItem
    | TruncateItem
    | DeleteItem
    | CreateResponse
    | CancelResponse
    | ClearOutput
    | PingClock
    | ReportTurn
    | RestoreSession,
    Field(discriminator="type"),
]

_CLIENT_EVENT: TypeAdapter[ClientEvent] = TypeAdapter(ClientEvent)
_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # of a character beyond 16 bits; alone it cannot be written in UTF-8


def read_envelope(text: str) -> Json:
    """The JSON object of a message. Half a character, as of words that were cut within one, becomes a question mark.

    Raises:
        InvalidRequest: it is not one.
    """
    try:
        envelope: Any = json.loads(text)
        if "\\u" in text and _HALF.search(text):  # most are halves of whole ones
            envelope = json.loads(json.dumps(envelope, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"expected a JSON object, got text that is not JSON: {error}", code="invalid_json"
        ) from None
    if not isinstance(envelope, dict):
        raise InvalidRequest(f"expected a JSON object, got {type(envelope).__name__}", code="invalid_json")
    return envelope


def read_event(envelope: Json) -> ClientEvent:
    """The event that an envelope holds.

    Raises:
        InvalidRequest: its type is unknown, or a field is missing or wrong.
    """
    try:
        return _CLIENT_EVENT.validate_python(envelope)
    except ValidationError as error:
        raise _fault(error, envelope) from None


def _fault(error: ValidationError, envelope: Json) -> InvalidRequest:
    if error.errors()[0]["type"].startswith("union_tag") and not error.errors()[0]["loc"]:
        return InvalidRequest(
            f"expected a client event type, got {envelope.get('type')!r}", code="unknown_event", param="type"
        )
    fault = invalid(error)
    path = (fault.param or "").removeprefix(f"{envelope.get('type')}.")  # pydantic names the branch of the union
    return InvalidRequest(str(fault).replace(fault.param or "", path, 1), param=path)
