"""The last events that a caller was sent, so that one whose connection broke misses none."""

from __future__ import annotations

import json
from collections import deque
from typing import NamedTuple

from edge_client.realtime.session_config import Json

MOST_EVENTS = 2000
MOST_CHARACTERS = 1024 * 1024


class _Sent(NamedTuple):
    event_id: str
    text: str


class SentEvents:
    """Server events as text, oldest first; beyond the bounds the oldest are forgotten."""

    def __init__(self) -> None:
        self._sent: deque[_Sent] = deque()
        self._characters = 0

    def add(self, event: Json) -> str:
        """Keep one event; returns its text."""
        sent = _Sent(event["event_id"], json.dumps(event))
        self._sent.append(sent)
        self._characters += len(sent.text)
        while len(self._sent) > MOST_EVENTS or self._characters > MOST_CHARACTERS:
            self._characters -= len(self._sent.popleft().text)
        return sent.text

    def after(self, event_id: str | None) -> list[str]:
        """The texts of all events that came after this one; where it is not known any more, of all there are."""
        texts: list[str] = []
        for sent in reversed(self._sent):
            if sent.event_id == event_id:
                break
            texts.append(sent.text)
        return texts[::-1]
