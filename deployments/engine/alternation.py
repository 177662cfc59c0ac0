"""How a reply alternates between text and sound: what each sampled item means, and which head speaks next.

The rules are those of the released models, read off the behaviour of their own generators, quirks included: the end of
a stretch of sound does not begin a new count of tokens, and after the end of the text the sound goes on until it ends
by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from deployments.engine.sequence import Modality


@dataclass(frozen=True, slots=True)
class ControlTokens:
    """Ids with a meaning, as the checkpoint's own tokenizer and codebooks have them."""

    end_of_turn: int
    audio_start: int
    text_end: int
    end_of_audio: int  # in the first codebook


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a sampled item: ``keep`` it as part of the reply (and of the history), and ``stop`` after it."""

    keep: bool = True
    stop: bool = False


KEEP = Verdict()


class Alternation(Protocol):
    """The state of one reply. ``modality`` says what is sampled next."""

    modality: Modality

    def take_token(self, token: int) -> Verdict: ...

    def take_frame(self, codes: Sequence[int]) -> Verdict: ...


class Interleaved:
    """Text and sound by turns: ``text_run`` tokens, ``audio_run`` frames, and so on; once the text ends, sound only."""

    def __init__(self, controls: ControlTokens, *, text_run: int, audio_run: int) -> None:
        self.modality = Modality.TEXT
        self._controls = controls
        self._text_run = text_run
        self._audio_run = audio_run
        self._left = text_run
        self._text_done = False

    def take_token(self, token: int) -> Verdict:
        self._left -= 1
        if token == self._controls.end_of_turn:
            return Verdict(keep=False, stop=True)
        self._text_done |= token == self._controls.text_end
        if self._left == 0 or self._text_done:
            self.modality, self._left = Modality.AUDIO, self._audio_run
        return KEEP

    def take_frame(self, codes: Sequence[int]) -> Verdict:
        self._left -= 1
        if self._left == 0 and not self._text_done:
            self.modality, self._left = Modality.TEXT, self._text_run
        if codes[0] == self._controls.end_of_audio:
            self.modality = Modality.TEXT  # and the count goes on
        return KEEP


class Sequential:
    """All the text, then all the sound: recognition and reading aloud."""

    def __init__(self, controls: ControlTokens) -> None:
        self.modality = Modality.TEXT
        self._controls = controls

    def take_token(self, token: int) -> Verdict:
        if token == self._controls.audio_start:
            self.modality = Modality.AUDIO
        return Verdict(stop=token == self._controls.end_of_turn)

    def take_frame(self, codes: Sequence[int]) -> Verdict:
        if codes[0] == self._controls.end_of_audio:
            self.modality = Modality.TEXT
        return KEEP
