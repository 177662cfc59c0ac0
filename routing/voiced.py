"""What was told of a reply, and which of its words were never heard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from routing.turns import AudioChunk, Reminder, ReplyEvent, TextDelta, ToolCall, Turn

CHARACTERS_PER_SEC = 15.0  # how fast people, and voices made after them, read aloud
NEARLY_ALL = 0.8  # no voice keeps that pace exactly: so much of a clause, judged by the time it took, is all of it
BEGINNING_SEC = 2.0  # of sound without a known word: nobody has understood much yet

_CLAUSE_END = re.compile(r"""[.!?]+["')\]”’]*(?=\s|$)|[,;:](?=\s)|\n""")


class Clause(NamedTuple):
    """A part of a text that can be said by itself: from ``start`` to ``end``, in characters."""

    start: int
    end: int


@dataclass(slots=True)
class Voiced:
    """Fed with the events of a reply as they are told.

    Words come before the sound that speaks them; some voices speak each clause before the next one is written, others
    write ahead. So the place that a voice has reached is known wherever it had to wait for words, and estimated from
    the time that it spoke since.

    Args:
        modality: what is told as text only is heard as soon as it is told
        has_acted: a tool was called or a reminder set, which must not happen twice
    """

    modality: Literal["audio", "text"] = "audio"
    text: str = ""
    sound_sec: float = 0.0
    has_acted: bool = False
    _known: int = 0  # characters that were voiced for certain,
    _known_sec: float = 0.0  # and when

    def feed(self, event: ReplyEvent) -> None:
        match event:
            case TextDelta(text=text):
                self._catch_up()
                self.text += text
            case AudioChunk():
                self.sound_sec += event.duration_sec
            case ToolCall() | Reminder():
                self.has_acted = True

    def unspoken(self) -> str:
        """The words still to be said, from the start of the clause that was being voiced; only whole clauses."""
        clauses = list(self._clauses())
        rest = [clause for clause in clauses if not self._is_voiced(clause)]
        return self.text[rest[0].start : rest[-1].end].strip() if rest else ""

    @property
    def has_only_begun(self) -> bool:
        """Nothing was said that stands by itself: somebody else may begin anew."""
        if self.has_acted or any(self._is_voiced(clause) for clause in self._clauses()):
            return False
        return bool(self.text) or self.sound_sec <= BEGINNING_SEC

    # -- how far the voice is ------------------------------------------------------------------------------------------

    @property
    def _place(self) -> float:
        """How many characters were voiced, as far as one can tell."""
        if self.modality == "text":
            return len(self.text)
        return min(self._known + (self.sound_sec - self._known_sec) * CHARACTERS_PER_SEC, len(self.text))

    def _catch_up(self) -> None:
        if self._is_voiced(Clause(self._known, len(self.text))):
            self._known, self._known_sec = len(self.text), self.sound_sec

    def _is_voiced(self, clause: Clause) -> bool:
        return self._place >= clause.start + NEARLY_ALL * (clause.end - clause.start)

    def _clauses(self) -> Iterator[Clause]:
        start = 0
        for mark in _CLAUSE_END.finditer(self.text):
            yield Clause(start, mark.end())
            start = mark.end()


def is_first(event: ReplyEvent, turn: Turn) -> bool:
    """Whether the caller notices it: sound, words where those were asked for, or a tool that is called."""
    match event:
        case AudioChunk(samples=samples):
            return len(samples) > 0
        case TextDelta(text=text):
            return bool(text) and turn.modality == "text"
        case _:
            return isinstance(event, ToolCall)
