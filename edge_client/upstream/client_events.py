"""What is sent to the server: functions that build each client event of the protocol from the words of a turn."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from edge_client.audio import float_to_pcm16
from routing.turns import REPLY_SAMPLE_RATE, HistoryItem, Message, Samples, Tool, ToolCall, ToolResult, Turn

type Json = dict[str, Any]

WIRE_SAMPLE_RATE = REPLY_SAMPLE_RATE  # the only one that the protocol has, both ways
PCM: Json = {"type": "audio/pcm", "rate": WIRE_SAMPLE_RATE}
TRANSCRIPTION_MODEL = "gpt-4o-mini-transcribe"  # what every SDK asks for, so that every server knows what is meant
COMMIT: Json = {"type": "input_audio_buffer.commit"}
ANSWER: Json = {"type": "response.create"}


def opening(turn: Turn, *, voice: str) -> Iterator[Json]:
    """All that a server must know of a turn before it is spoken."""
    yield {"type": "session.update", "session": _session(turn, voice)}
    for item in turn.history:
        if not (isinstance(item, Message) and not item.text):  # of an interrupted reply nothing may have been heard
            yield {"type": "conversation.item.create", "item": _item(item)}


def append(samples: Samples) -> Json:
    """The next sound of the user, at `WIRE_SAMPLE_RATE`."""
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(float_to_pcm16(samples)).decode("ascii")}


def _session(turn: Turn, voice: str) -> Json:
    """Turns are taken here, so the server shall not listen for their ends."""
    return {
        "type": "realtime",
        "output_modalities": [turn.modality],
        "instructions": turn.instructions,
        "tools": [_tool(tool) for tool in turn.tools],
        "tool_choice": _tool_choice(turn.tool_choice),
        "audio": {
            "input": {"format": PCM, "transcription": {"model": TRANSCRIPTION_MODEL}, "turn_detection": None},
            "output": {"format": PCM} | ({"voice": voice} if voice else {}),
        },
    }


def _tool(tool: Tool) -> Json:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
    }


def _tool_choice(choice: str) -> str | Json:
    return choice if choice in ("auto", "none", "required") else {"type": "function", "name": choice}


def _item(item: HistoryItem) -> Json:
    match item:
        case Message(role=role, text=text):
            kind = "output_text" if role == "assistant" else "input_text"
            return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
        case ToolCall(call_id=call_id, name=name, arguments=arguments):
            return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
        case ToolResult(call_id=call_id, output=output):
            return {"type": "function_call_output", "call_id": call_id, "output": output}
