"""Whether server events are valid for the SDKs, as these check them before they act on one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents.realtime.openai_realtime import get_server_event_type_adapter
from pydantic import ValidationError

from tests.diary import Event
from tests.node import run_node


def faults_in_python(events: Sequence[Event]) -> list[str]:
    """What `openai-agents` would show to its user in place of the malformed ones."""
    return [fault for event in events if (fault := _fault(event))]


def _fault(event: Event) -> str | None:
    first = "previous_item_id" in event and event["previous_item_id"] is None
    try:  # the package itself puts "" for null there
        get_server_event_type_adapter().validate_python({**event, "previous_item_id": ""} if first else event)
    except ValidationError as error:
        return f"{event}: {error}"
    return None


async def faults_in_javascript(events: Sequence[Event]) -> Any:
    """The malformed ones, which `@openai/agents-realtime` would ignore or be ended by, each with its issues."""
    return await run_node("schema.mjs", list(events))
