"""What a session has behind it when it begins: nothing, or what was said to another edge."""

from __future__ import annotations

from dataclasses import dataclass

from edge_client.conversation import Item
from routing.turns import Privacy


@dataclass(frozen=True, slots=True)
class Promise:
    """Something that will be said unasked, ``due_sec`` from now."""

    due_sec: float
    text: str
    privacy: Privacy = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A session between two turns. Its items hold words only, those that were heard; it has no sound.

    ``turns`` is how many there were, those included that came to nothing.
    """

    items: tuple[Item, ...] = ()
    turns: int = 0
    promises: tuple[Promise, ...] = ()


NO_PAST = Past()
