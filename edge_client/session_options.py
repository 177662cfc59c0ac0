"""What a caller may set of their session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_client.endpointer import EndpointerSettings
from routing.turns import Privacy, Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """What the caller may set, at any time. The endpointer's mode "manual" is push-to-talk."""

    endpointer: EndpointerSettings
    instructions: str = ""
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    modality: Literal["audio", "text"] = "audio"
    create_response: bool = True  # answer at the end of a turn without being asked
    interrupt_response: bool = True  # stop speaking when the caller begins
    privacy: Privacy = "any"  # of the turns that begin from now on
