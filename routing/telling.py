"""What the caller was told of a reply so far, by one voice after another."""

from __future__ import annotations

from dataclasses import replace

from routing.turns import AudioChunk, Reminder, ReplyEvent, TextDelta, ToolCall, Turn
from routing.voiced import Voiced, is_first


class Telling:
    """Fits each event behind what was told before.

    Text is told once: who says the rest of another's words only lends a voice, and an answer that takes the place of
    another begins with a mark between the two.
    """

    def __init__(self, turn: Turn) -> None:
        self.first_at: float | None = None  # when the caller first noticed something
        self.sound_sec = 0.0
        self.plays_until = 0.0  # by then all sound was played, if its listener takes it at the pace of time
        self._turn = turn
        self._voiced = Voiced(turn.modality)
        self._lends_voice = False
        self._starts_anew = False

    def tell(self, event: ReplyEvent, now: float) -> ReplyEvent | None:
        """The event as it is to be told; None for what must not be told again."""
        if self._lends_voice and isinstance(event, TextDelta | ToolCall | Reminder):
            return None
        self._voiced.feed(event)
        if isinstance(event, AudioChunk):
            self._note_sound(event, now)
        if self.first_at is None and is_first(event, self._turn):
            self.first_at = now
        return self._begin_anew(event) if isinstance(event, TextDelta) else event

    def _note_sound(self, chunk: AudioChunk, now: float) -> None:
        self.sound_sec += chunk.duration_sec
        self.plays_until = max(self.plays_until, now) + chunk.duration_sec

    def _begin_anew(self, delta: TextDelta) -> TextDelta:
        if not self._starts_anew:
            return delta
        self._starts_anew = False
        return replace(delta, text=f"… {delta.text.lstrip()}")

    # -- if its voice fails --------------------------------------------------------------------------------------------

    def unspoken(self) -> str:
        """The words that are known and were not heard, from the start of a clause."""
        return self._voiced.unspoken()

    @property
    def has_only_begun(self) -> bool:
        """Nothing was said that stands by itself: another answer may take its place."""
        return self._voiced.has_only_begun

    def go_on(self, script: str | None) -> None:
        """From here on another voice says ``script``; with None, it gives an answer of its own."""
        self._lends_voice = script is not None
        self._starts_anew = script is None and bool(self._voiced.text)
        self._voiced = Voiced(self._turn.modality, text=script or "", has_acted=self._voiced.has_acted)
