"""What a server tells of a reply, in the words of `routing.turns`."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from edge_client.audio import pcm16_to_float
from edge_client.upstream.client_events import WIRE_SAMPLE_RATE, Json
from edge_client.upstream.faults import broken, from_error, from_response
from routing.errors import InvalidRequest
from routing.turns import AudioChunk, Heard, ReplyEvent, TextDelta, ToolCall

EARLY_SOUND_SEC = 0.4  # how much sound waits for the words that it speaks


class ReplyReader:
    """Reads the server events of one reply, in their order.

    The final words of the user come as soon as the server knows them: many servers answer before they do.
    Partial ones go to ``on_heard``.

    Args:
        spoken: the question was spoken, so that there will be words of the user
    """

    def __init__(self, *, spoken: bool, on_heard: Callable[[Heard], None]) -> None:
        self.complete = False  # the reply is; the user's words may still be missing
        self.words_due = spoken
        self.input_tokens = 0
        self.output_tokens = 0
        self._on_heard = on_heard
        self._partial = ""
        self._early: list[AudioChunk] | None = []  # sound before the first words; None from then on

    @property
    def finished(self) -> bool:
        """Whether nothing more is waited for."""
        return self.complete and not self.words_due

    def read(self, event: Json) -> Iterable[ReplyEvent]:
        """What the next event means; nothing, for most of them.

        Raises:
            BackendError: the server cannot answer, or does not keep to the protocol.
        """
        match event:
            case {"type": "error"}:
                raise from_error(event.get("error"))
            case {"type": "response.done"}:
                return self._end(event.get("response"))
            case {"type": str(kind)} if kind.startswith("conversation.item.input_audio_transcription."):
                return self._understand(event)
        return self._answer(event)

    # -- the user's words ----------------------------------------------------------------------------------------------

    def _understand(self, event: Json) -> Iterable[ReplyEvent]:
        match event:
            case {"type": str(kind), "delta": str(delta)} if kind.endswith(".delta"):
                self._partial += delta
                self._on_heard(Heard(self._partial, is_final=False))
            case {"type": str(kind), "transcript": str(words)} if kind.endswith(".completed") and self.words_due:
                self.words_due = False
                return (Heard(words.strip(), is_final=True),)
            case {"type": str(kind)} if kind.endswith(".failed"):
                self.words_due = False
        return ()

    # -- the answer ----------------------------------------------------------------------------------------------------

    def _answer(self, event: Json) -> Iterable[ReplyEvent]:
        match event:
            case {"type": "response.output_audio_transcript.delta" | "response.output_text.delta", "delta": str(words)}:
                return (TextDelta(words), *self._release()) if words else ()
            case {"type": "response.output_audio.delta", "delta": str(sound)}:
                return self._hold(_chunk(sound))
            case {"type": "response.output_item.done", "item": {"type": "function_call"} as item}:
                return (*self._release(), _tool_call(item))
        return ()

    def _hold(self, chunk: AudioChunk) -> Iterable[ReplyEvent]:
        """Words go before the sound that speaks them, unless none come."""
        if self._early is None:
            return (chunk,)
        self._early.append(chunk)
        waiting_sec = sum(early.duration_sec for early in self._early)
        return self._release() if waiting_sec > EARLY_SOUND_SEC else ()

    def _release(self) -> Iterable[AudioChunk]:
        early, self._early = self._early, None
        return early or ()

    def _end(self, response: Any) -> Iterable[ReplyEvent]:
        match response:
            case {"status": "completed"}:
                self.complete = True
                self._count(response.get("usage"))
                return self._release()
            case {"status": str()}:
                raise from_response(response)
        raise broken("a response with its status", type(response).__name__)

    def _count(self, usage: Any) -> None:
        match usage:
            case {"input_tokens": int(asked), "output_tokens": int(answered)}:
                self.input_tokens, self.output_tokens = asked, answered


def _chunk(sound: str) -> AudioChunk:
    try:
        return AudioChunk(pcm16_to_float(base64.b64decode(sound, validate=True)), WIRE_SAMPLE_RATE)
    except (ValueError, InvalidRequest):
        raise broken("16-bit sound in base64", "something else") from None


def _tool_call(item: Mapping[str, Any]) -> ToolCall:
    match item:
        case {"call_id": str(call_id), "name": str(name), "arguments": str(arguments)}:
            return ToolCall(call_id, name, arguments)
    raise broken("a tool call with call_id, name and arguments", f"one with {', '.join(map(str, item))}")
