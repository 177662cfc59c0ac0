"""How much one reply may tell. Who answers far away may be broken or ill-meaning, and a caller cannot stop it."""

from __future__ import annotations

from routing.errors import BackendError
from routing.turns import AudioChunk, Heard, Reminder, ReplyEnd, ReplyEvent, TextDelta, ToolCall, Turn

MAXIMUM_CHARACTERS = 20_000  # twenty minutes read aloud
MAXIMUM_SOUND_SEC = 1800.0
MAXIMUM_EVENTS = 50_000  # as much sound in the shortest usual chunks, 40 ms
MAXIMUM_DEEDS = 16  # tools called and reminders set
_CHARACTERS_OF_A_NUMBER = 8


class Allowance:
    """What is left of it for one reply to ``turn``. A tool that nobody offered must not be called at all."""

    def __init__(self, turn: Turn) -> None:
        self._tools = {tool.name for tool in turn.tools}
        self._characters = self._events = self._deeds = 0
        self._sound_sec = 0.0

    def spend(self, event: ReplyEvent) -> None:
        """Count the next event.

        Raises:
            BackendError: it goes beyond what any honest reply tells.
        """
        self._check_offered(event)
        self._events += 1
        self._characters += characters_of(event)
        self._sound_sec += event.duration_sec if isinstance(event, AudioChunk) else 0.0
        self._deeds += isinstance(event, ToolCall | Reminder)
        self._check("events", self._events, MAXIMUM_EVENTS)
        self._check("characters", self._characters, MAXIMUM_CHARACTERS)
        self._check("seconds of sound", self._sound_sec, MAXIMUM_SOUND_SEC)
        self._check("tools called and reminders set", self._deeds, MAXIMUM_DEEDS)

    def _check_offered(self, event: ReplyEvent) -> None:
        if isinstance(event, ToolCall) and event.name not in self._tools:
            raise BackendError(f"expected a call of one of the {len(self._tools)} tools offered, got one of another")

    @staticmethod
    def _check(what: str, amount: float, most: float) -> None:
        if amount > most:
            raise BackendError(f"expected a reply of at most {most:g} {what}, got more")


def characters_of(event: ReplyEvent) -> int:
    """How much text it carries."""
    match event:
        case Heard(text=text) | TextDelta(text=text) | Reminder(text=text):
            return len(text)
        case ToolCall(call_id=call_id, name=name, arguments=arguments):
            return len(call_id) + len(name) + len(arguments)
        case ReplyEnd(timings_ms=timings_ms):
            return sum(len(name) + _CHARACTERS_OF_A_NUMBER for name in timings_ms)
        case _:
            return 0
