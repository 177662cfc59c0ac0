"""The session object of the protocol: what clients may set, merged and checked, and what it means to a `Session`.

Everything is accepted and echoed, foreign models and voices too; what Antiphon acts on is checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from edge_client.endpointer import EndpointerSettings
from edge_client.realtime.locks import expect_names, expect_unlocked, with_named_locks
from edge_client.session_options import SessionOptions
from routing.errors import InvalidRequest
from routing.turns import Privacy, Tool, stricter

type Json = dict[str, Any]

MAXIMUM_SESSION_BYTES = 256 * 1024  # shown whole after every change, so that large ones cost all callers time

# The names that pydantic gives to branches of a union: part of its path to a fault, but not of the client's object.
BRANCHES = {"audio/pcm", "audio/pcmu", "audio/pcma", "semantic_vad", "server_vad", "function", "foreign"}


class _Part(BaseModel):
    """A part of the session object; fields that are not listed are kept as they came."""

    model_config = ConfigDict(frozen=True, extra="allow")


class PcmFormat(_Part):
    type: Literal["audio/pcm"] = "audio/pcm"
    rate: Literal[24000] = 24000


class G711Format(_Part):
    type: Literal["audio/pcmu", "audio/pcma"]


type AudioFormat = Annotated[PcmFormat | G711Format, Field(discriminator="type")]


class SemanticVad(_Part):
    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True


class ServerVad(_Part):
    type: Literal["server_vad"]
    threshold: float = Field(0.5, gt=0, le=1)
    prefix_padding_ms: int = Field(300, ge=0)
    silence_duration_ms: int = Field(500, ge=1, le=10_000)
    create_response: bool = True
    interrupt_response: bool = True


class Transcription(_Part):
    model: str = "moonshine-tiny"


class AudioInput(_Part):
    format: AudioFormat = PcmFormat()
    transcription: Transcription | None = Transcription()
    noise_reduction: Json | None = None
    turn_detection: Annotated[SemanticVad | ServerVad, Field(discriminator="type")] | None = SemanticVad(
        type="semantic_vad"
    )


class AudioOutput(_Part):
    format: AudioFormat = PcmFormat()
    voice: Any = "heart"
    speed: float = Field(default=1.0, ge=0.25, le=1.5)


class Audio(_Part):
    input: AudioInput = AudioInput()
    output: AudioOutput = AudioOutput()


class FunctionTool(_Part):
    type: Literal["function"]
    name: str = Field(min_length=1, max_length=128)
    description: str | None = None
    parameters: Json | None = None


class ForeignTool(_Part):
    """A kind of tool that is accepted and not offered to the model, such as ``mcp``."""

    type: str


class NamedTool(_Part):
    type: Literal["function"]
    name: str


def _tool_kind(tool: Any) -> str:
    kind = tool.get("type") if isinstance(tool, Mapping) else getattr(tool, "type", None)
    return "function" if kind == "function" else "foreign"


type AnyTool = Annotated[
    Annotated[FunctionTool, Tag("function")] | Annotated[ForeignTool, Tag("foreign")],
    Discriminator(_tool_kind),
]
type Modalities = list[Literal["audio", "text"]]
type ToolChoice = Literal["auto", "none", "required"] | NamedTool


class AntiphonWishes(_Part):
    """What only an Antiphon can be asked for; other servers ignore it."""

    locked: list[str] = []  # settings that cannot be changed any more
    privacy: Privacy = "any"  # "device_only": the turns that begin from now on are answered here, and known only here


class SessionConfig(_Part):
    """The effective session of one caller."""

    type: Literal["realtime"] = "realtime"
    object: Literal["realtime.session"] = "realtime.session"
    model: str = "antiphon"
    output_modalities: Modalities = Field(default=["audio"], min_length=1)
    instructions: str = ""
    audio: Audio = Audio()
    tools: list[AnyTool] = []
    tool_choice: ToolChoice = "auto"
    max_output_tokens: int | Literal["inf"] = "inf"
    antiphon: AntiphonWishes = AntiphonWishes()

    def updated(self, changes: Mapping[str, Any]) -> SessionConfig:
        """A copy with ``changes`` merged in deeply; lists and nulls replace.

        Raises:
            InvalidRequest: a field that Antiphon acts on has a value it cannot act on, or one that is locked another.
        """
        try:
            _check_size(changes)
            before = self.wire()
            config = SessionConfig.model_validate(merged(before, with_named_locks(changes)))
            after = config.wire()
            _check_size(after)  # what cannot be shown is not taken
            expect_unlocked(self.antiphon.locked, before, after)
            expect_names(config.antiphon.locked, after)
        except ValidationError as error:
            raise invalid(error, prefix="session") from None
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"expected settings that can be shown, got: {error}", param="session") from None
        return config

    def wire(self) -> Json:
        """The object as the protocol shows it."""
        return self.model_dump(mode="json")

    def options(self, defaults: EndpointerSettings, privacy: Privacy = "any") -> SessionOptions:
        """What it means to a session; ``defaults`` are the edge's own turn-taking settings, ``privacy`` its own too.

        The stricter privacy counts.
        """
        detection = self.audio.input.turn_detection
        return SessionOptions(
            endpointer=_endpointer(detection, defaults),
            instructions=self.instructions,
            tools=function_tools(self.tools),
            tool_choice=tool_choice(self.tool_choice),
            modality=modality(self.output_modalities),
            create_response=detection is not None and detection.create_response,
            interrupt_response=detection is not None and detection.interrupt_response,
            privacy=stricter(privacy, self.antiphon.privacy),
        )


def _check_size(settings: Mapping[str, Any]) -> None:
    """Raises ValueError for what is no JSON as well: not a number, half a character."""
    size = len(json.dumps(settings, ensure_ascii=False, allow_nan=False).encode())
    if size > MAXIMUM_SESSION_BYTES:
        raise InvalidRequest(f"expected settings of at most {MAXIMUM_SESSION_BYTES} bytes, got {size}", param="session")


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> Json:
    """``old`` with ``new`` laid over it, objects field by field, unless they are of another ``type``."""
    result = dict(old)
    for key, value in new.items():
        known = result.get(key)
        both = isinstance(known, Mapping) and isinstance(value, Mapping)
        result[key] = merged(known, value) if both and _same_type(known, value) else value  # type: ignore[arg-type]
    return result


def _same_type(old: Any, new: Any) -> bool:
    return "type" not in new or old.get("type") == new["type"]


def function_tools(tools: list[AnyTool]) -> tuple[Tool, ...]:
    functions = (tool for tool in tools if isinstance(tool, FunctionTool))
    return tuple(Tool(tool.name, tool.description or "", tool.parameters or {}) for tool in functions)


def tool_choice(choice: ToolChoice) -> str:
    return choice.name if isinstance(choice, NamedTool) else choice


def modality(modalities: Modalities) -> Literal["audio", "text"]:
    return "audio" if "audio" in modalities else "text"


def _endpointer(detection: SemanticVad | ServerVad | None, defaults: EndpointerSettings) -> EndpointerSettings:
    return defaults.model_copy(update=_turn_taking(detection))


def _turn_taking(detection: SemanticVad | ServerVad | None) -> Json:
    match detection:
        case None:
            return {"mode": "manual"}
        case SemanticVad(eagerness=eagerness):
            return {"mode": "semantic", "eagerness": eagerness}
        case ServerVad(threshold=threshold, silence_duration_ms=silence_ms):
            return {"mode": "silence", "threshold": threshold, "silence_ms": silence_ms}


def invalid(error: ValidationError, *, prefix: str | None = None) -> InvalidRequest:
    """The first fault that pydantic found, in the words of the protocol."""
    fault = error.errors(include_url=False)[0]
    path = ".".join(str(part) for part in (prefix, *fault["loc"]) if part is not None and part not in BRANCHES)
    if fault["type"] == "missing":
        return InvalidRequest(f"{path}: expected a value, got none", param=path)
    wanted = re.sub(r"^(\w+) should ", lambda match: f"expected {match[1].lower()} to ", fault["msg"])
    return InvalidRequest(f"{path}: {wanted}, got {_shown(fault['input'])}", param=path)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
