"""What was said and told in a turn so far, so that another replica can go on with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from deployments.served_turn import WHOLE_TURN
from routing.errors import BackendError
from routing.turns import AudioChunk, Heard, ReplyEnd, ReplyEvent, TextDelta
from routing.wire import Ask, Commit, Message, Open, Refused, RollBack, Speech, Told, encode

PARTIAL = 0  # the attempt of words that are still being understood


class TurnLedger:
    """Kept by the ingress. A reply is the same wherever it is made, so what was told is left out the second time.

    Holds all that the caller said, which the wire bounds (4 MB of speech at most), but of the sound that was told only
    how much it was.
    """

    def __init__(self, opening: Open) -> None:
        self._opening = opening
        self.session_id = opening.turn.session_id
        self.attempt = 0  # the one that is open; 0 where none is
        self.was_asked = False
        self.committed = False
        self.refused_as = ""  # the code of what was told last in the place of an answer
        self._speech: list[bytes] = []
        self._asked_after = 0  # pieces of speech
        self._telling = Telling()

    def say(self, message: Message, data: bytes) -> None:
        """The caller's side said this; ``data`` is the message encoded."""
        match message:
            case Speech():
                self._speech.append(data)
            case Ask(attempt):
                self.attempt = attempt
                self.was_asked = True
                self.refused_as = ""
                self._asked_after = len(self._speech)
                self._telling = Telling()
            case RollBack():
                self.attempt = 0
                self._telling = Telling()
            case Commit():
                self.committed = True

    def tell(self, message: Message) -> None:
        """The caller's side was told this."""
        if isinstance(message, Told):
            if message.attempt == self.attempt:
                self._telling.add(message.event)
        elif isinstance(message, Refused) and message.attempt in {WHOLE_TURN, self.attempt}:  # else it was rolled back
            self.refused_as = message.code

    @property
    def is_over(self) -> bool:
        """Whether the answer that counts was told to its end: no other replica is needed any more."""
        return self.committed and self._telling.has_ended

    @property
    def speech_bytes(self) -> int:
        """How much speech came, as it travels."""
        return sum(map(len, self._speech))

    def opening(self, trace_context: Mapping[str, str]) -> bytes:
        """The encoded `Open` for a replica, whose part of the trace belongs to that span."""
        return encode(Open(replace(self._opening.turn, trace_context=trace_context)))

    def again(self) -> list[bytes]:
        """What another replica must hear to be where the first one was."""
        asked = [encode(Ask(self.attempt))] if self.attempt else []
        committed = [encode(Commit(self.attempt))] if self.committed else []
        return [*self._speech[: self._asked_after], *asked, *self._speech[self._asked_after :], *committed]

    def second_telling(self) -> SecondTelling:
        """Leaves out what was told already."""
        return SecondTelling(self._telling, self.attempt)


class Telling:
    """How much of an answer was told."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self.samples = 0
        self.others: list[ReplyEvent] = []  # neither words nor sound
        self.has_ended = False

    @property
    def text(self) -> str:
        return "".join(self._texts)

    def add(self, event: ReplyEvent) -> None:
        """This was told, too."""
        match event:
            case TextDelta(text):
                self._texts.append(text)
            case AudioChunk(samples):
                self.samples += len(samples)
            case ReplyEnd():
                self.has_ended = True
            case _:
                self.others.append(event)


class SecondTelling:
    """Passes on what is new in a reply that is told a second time.

    Sound may be cut into other pieces than before, and words too; what counts is how much there was of each.
    """

    def __init__(self, told: Telling, attempt: int) -> None:
        self._text = told.text
        self._samples = told.samples
        self._others = list(told.others)
        self._has_ended = told.has_ended
        self._attempt = attempt

    @property
    def is_over(self) -> bool:
        """Whether all that was told has been left out, and everything from now on is new."""
        return not (self._text or self._samples or self._others or self._has_ended)

    def pass_on(self, message: Message) -> Iterator[Message]:
        """What of the message was not told before.

        Raises:
            BackendError: this is another reply than the first.
        """
        if self.is_over or not isinstance(message, Told) or message.attempt not in {self._attempt, PARTIAL}:
            yield message
        elif message.attempt == PARTIAL:
            return  # what was understood by then is told by the words that were told after it
        elif (event := self._left_of(message.event)) is not None:
            yield message if event is message.event else Told(self._attempt, event)

    def _left_of(self, event: ReplyEvent) -> ReplyEvent | None:
        match event:
            case TextDelta(text):
                return self._text_left(text)
            case AudioChunk():
                return self._sound_left(event)
            case ReplyEnd():
                return self._end_left(event)
            case _:
                return self._other_left(event)

    def _text_left(self, text: str) -> TextDelta | None:
        known, self._text = self._text[: len(text)], self._text[len(text) :]
        if not text.startswith(known):
            raise BackendError("the second replica answers in other words")
        return TextDelta(text[len(known) :]) if len(text) > len(known) else None

    def _sound_left(self, chunk: AudioChunk) -> AudioChunk | None:
        left_out = min(self._samples, len(chunk.samples))
        self._samples -= left_out
        rest = chunk.samples[left_out:]
        return AudioChunk(np.ascontiguousarray(rest), chunk.sample_rate) if len(rest) else None

    def _other_left(self, event: ReplyEvent) -> ReplyEvent | None:
        if event in self._others:
            self._others.remove(event)
            return None
        if isinstance(event, Heard):  # it opens the reply, so the first replica has told its own
            self._leave_out(event)
            return None
        return event

    def _leave_out(self, heard: Heard) -> None:
        """Judged otherwise it is the same, but not with other words."""
        first = next((told for told in self._others if isinstance(told, Heard)), None)
        if first is None or first.text != heard.text:
            raise BackendError("the second replica has understood other words")
        self._others.remove(first)

    def _end_left(self, end: ReplyEnd) -> ReplyEnd | None:
        """It is the same end, though its times are others."""
        if self._text or self._others:
            raise BackendError("the second replica ends the answer before the first did")
        self._samples = 0
        is_known, self._has_ended = self._has_ended, False
        return None if is_known else end
