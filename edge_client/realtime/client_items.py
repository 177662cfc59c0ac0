"""Items that clients bring into the conversation, in Antiphon's own words."""

from __future__ import annotations

import base64

from edge_client.conversation import Item, MessageItem, SpokenText, ToolCallItem, ToolResultItem, new_id
from edge_client.realtime.client_events import (
    ContentPart,
    ItemInput,
    MessageInput,
    ToolCallInput,
    ToolResultInput,
)
from routing.errors import InvalidRequest
from routing.turns import ToolCall, ToolResult


def read_base64(text: str, param: str) -> bytes:
    """The bytes of a base64 field.

    Raises:
        InvalidRequest: it is not base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:  # also where the text is not even ASCII
        raise InvalidRequest(f"expected base64, got text that is not: {error}", param=param) from None


def recording(given: ItemInput) -> bytes | None:
    """The sound of a user's message that has no words yet, or None where there are words or no sound."""
    if not isinstance(given, MessageInput) or given.role != "user" or _texts(given.content):
        return None
    sounds = [part.audio for part in given.content if part.audio]
    return b"".join(read_base64(sound, "item.content") for sound in sounds) if sounds else None


def read_item(given: ItemInput) -> Item:
    """The item that a client describes.

    Raises:
        InvalidRequest: a message has no words.
    """
    item_id = given.id or new_id("item")
    match given:
        case MessageInput(role=role, content=content):
            return MessageItem(id=item_id, role=role, medium="text", pieces=[SpokenText(_text(content))])
        case ToolResultInput(call_id=call_id, output=output):
            return ToolResultItem(id=item_id, result=ToolResult(call_id, output))
        case ToolCallInput(call_id=call_id, name=name, arguments=arguments):
            return ToolCallItem(id=item_id, call=ToolCall(call_id, name, arguments))


def _text(content: list[ContentPart]) -> str:
    texts = _texts(content)
    if not texts:
        kinds = ", ".join(part.type for part in content) or "none"
        raise InvalidRequest(
            f"expected a content part with text, a transcript or audio, got {kinds}", param="item.content"
        )
    return " ".join(texts)


def _texts(content: list[ContentPart]) -> list[str]:
    return [text for part in content if (text := part.text or part.transcript)]
