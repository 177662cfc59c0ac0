"""What was said and told in a turn so far, so that another replica can go on with it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from routing.errors import BackendError
from routing.turns import AudioChunk, Heard, TextDelta
from routing.wire import Ask, Commit, Message, Open, RollBack, Speech, Told, decode, encode


class TurnLedger:
    """Kept by the ingress. A reply is the same wherever it is made, so what was told is left out the second time."""

    def __init__(self, opening: Open) -> None:
        self.opening = encode(opening)
        self.session_id = opening.turn.session_id
        self.attempt = 0  # the one that is open; 0 where none is
        self.committed = False
        self._speech: list[bytes] = []
        self._asked_after = 0  # pieces of speech
        self._told: list[bytes] = []

    def say(self, message: Message, data: bytes) -> None:
        """The caller's side said this."""
        match message:
            case Speech():
                self._speech.append(data)
            case Ask(attempt):
                self.attempt = attempt
                self._asked_after = len(self._speech)
                self._told.clear()
            case RollBack():
                self.attempt = 0
                self._told.clear()
            case Commit():
                self.committed = True

    def tell(self, message: bytes) -> None:
        """The caller's side was told this."""
        self._told.append(message)

    def again(self) -> list[bytes]:
        """What another replica must hear to be where the first one was."""
        asked = [encode(Ask(self.attempt))] if self.attempt else []
        committed = [encode(Commit(self.attempt))] if self.committed else []
        return [*self._speech[: self._asked_after], *asked, *self._speech[self._asked_after :], *committed]

    def second_telling(self) -> SecondTelling:
        """Leaves out what was told already."""
        return SecondTelling([decode(message) for message in self._told], self.attempt)


class SecondTelling:
    """Passes on what is new in a reply that is told a second time.

    Sound may be cut into other pieces than before, and words too; what counts is how much there was of each.
    """

    def __init__(self, told: list[Message], attempt: int) -> None:
        events = [message.event for message in told if isinstance(message, Told) and message.attempt == attempt]
        self._text = "".join(event.text for event in events if isinstance(event, TextDelta))
        self._samples = sum(len(event.samples) for event in events if isinstance(event, AudioChunk))
        self._others = [event for event in events if not isinstance(event, TextDelta | AudioChunk)]
        self._attempt = attempt

    @property
    def is_over(self) -> bool:
        """Whether all that was told has been left out, and everything from now on is new."""
        return not (self._text or self._samples or self._others)

    def pass_on(self, message: Message, data: bytes) -> Iterator[bytes]:
        """What of the message was not told before.

        Raises:
            BackendError: this is another reply than the first.
        """
        if self.is_over or not isinstance(message, Told) or message.attempt != self._attempt:
            yield data
            return
        match message.event:
            case TextDelta(text):
                rest = self._text_left(text)
                event: TextDelta | AudioChunk | None = TextDelta(rest) if rest else None
            case AudioChunk() as chunk:
                event = self._sound_left(chunk)
            case other:
                event = None
                if other in self._others:
                    self._others.remove(other)
                elif not isinstance(other, Heard):
                    yield data
        if event is not None:
            yield encode(Told(self._attempt, event))

    def _text_left(self, text: str) -> str:
        known, self._text = self._text[: len(text)], self._text[len(text) :]
        if not text.startswith(known):
            raise BackendError(f"the second replica answers otherwise: expected {known!r}, got {text!r}")
        return text[len(known) :]

    def _sound_left(self, chunk: AudioChunk) -> AudioChunk | None:
        left_out = min(self._samples, len(chunk.samples))
        self._samples -= left_out
        rest = chunk.samples[left_out:]
        return AudioChunk(np.ascontiguousarray(rest), chunk.sample_rate) if len(rest) else None
