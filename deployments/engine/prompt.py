"""What the model reads before it answers: the pieces of a turn, in the format that the released models were trained on.

Every stretch of text is encoded by itself, since a tokenizer may join what stands on both sides of a seam.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from routing.turns import HistoryItem, Message, Samples, ToolCall, ToolResult, Turn

TOOL_CHARACTERS = 1000  # of what a tool was given or returned; a web page would push the conversation out

type Codes = NDArray[np.int64]  # [n, codebooks]
type SpeechPositions = Callable[[int], int]  # samples at 16 kHz -> positions of their embeddings
type Item = int | NDArray[np.int64]  # what a step samples: a token's id, or a frame's codes [codebooks]


# -- pieces ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Token ids, one position each."""

    ids: tuple[int, ...]

    def positions(self, _: SpeechPositions) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class SpeechPiece:
    """A clip of the caller's speech, float32 ``[n]`` at 16 kHz. It stays whole: the encoder looks at all of it."""

    samples: Samples

    def positions(self, speech_positions: SpeechPositions) -> int:
        return speech_positions(len(self.samples))


@dataclass(frozen=True, slots=True, eq=False)
class FramesPiece:
    """Frames of sound that the model made: int64 codes ``[n, codebooks]``, one position per frame."""

    codes: Codes

    def positions(self, _: SpeechPositions) -> int:
        return len(self.codes)


type Piece = TextPiece | SpeechPiece | FramesPiece


def positions_of(pieces: Iterable[Piece], speech_positions: SpeechPositions) -> int:
    """How many positions the pieces take."""
    return sum(piece.positions(speech_positions) for piece in pieces)


def joined(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """The same, with neighbouring texts and neighbouring frames in one piece each, and without empty ones."""
    return tuple(whole for kind, group in groupby(pieces, type) for whole in _joined(kind, list(group)))


def _joined(kind: type[Piece], group: Sequence[Piece]) -> Sequence[Piece]:
    if kind is TextPiece:
        ids = tuple(token for piece in group if isinstance(piece, TextPiece) for token in piece.ids)
        return [TextPiece(ids)] if ids else []
    if kind is FramesPiece:
        codes = np.concatenate([piece.codes for piece in group if isinstance(piece, FramesPiece)])
        return [FramesPiece(codes)] if len(codes) else []
    return group


def pieces_of(items: Iterable[Item]) -> tuple[Piece, ...]:
    """A reply, or a part of it, as something to be read."""
    return joined(TextPiece((item,)) if isinstance(item, int) else FramesPiece(item[np.newaxis]) for item in items)


# -- turns -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SystemTexts:
    """What tells the model how to reply, in the words it was taught with; ``writing`` only follows their pattern."""

    chat: str = "Respond with interleaved text and audio."
    writing: str = "Respond with text."
    reading_aloud: str = "Perform TTS. Use the US female voice."
    recognition: str = "Perform ASR."


SYSTEM_TEXTS = SystemTexts()


class Mode(Enum):
    """How a reply goes."""

    INTERLEAVED = "interleaved"  # text and sound by turns: conversation
    SEQUENTIAL = "sequential"  # all the text, then all the sound: reading aloud, recognition
    TEXT = "text"  # as SEQUENTIAL, but over where the sound would begin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dialogue:
    """A turn as the model sees it. Where nobody spoke, the question is the end of ``history``.

    What is not ``remembered`` stands for itself: it neither reads the session's memory nor leaves a trace in it.
    """

    mode: Mode
    system: str
    history: tuple[HistoryItem, ...] = ()
    question: SpeechPiece | None = None
    remembered: bool = True

    @property
    def past(self) -> tuple[HistoryItem, ...]:
        """``history`` without the question."""
        return self.history[:-1] if self._asks_in_writing else self.history

    @property
    def _asks_in_writing(self) -> bool:
        if self.question is not None or not self.history:
            return False
        last = self.history[-1]
        return not (isinstance(last, Message) and last.role == "assistant")


def dialogue_of(turn: Turn, question: Samples | None, texts: SystemTexts = SYSTEM_TEXTS) -> Dialogue:
    """What ``turn`` asks of the model; ``question`` is the caller's speech at 16 kHz, None for a typed turn.

    A script is read aloud as the released models were taught to: as the user's text, with their own system text. The
    tools that a turn offers are not told, since the model was never taught to call one; what others called is.
    """
    if turn.script is not None:
        script = Message("user", turn.script)
        return Dialogue(mode=Mode.SEQUENTIAL, system=texts.reading_aloud, history=(script,), remembered=False)
    speaks = turn.modality == "audio"
    return Dialogue(
        mode=Mode.INTERLEAVED if speaks else Mode.TEXT,
        system=f"{texts.chat if speaks else texts.writing} {turn.instructions}".strip(),
        history=turn.history,
        question=None if question is None else SpeechPiece(question),
    )


def recognition_of(speech: Samples, texts: SystemTexts = SYSTEM_TEXTS) -> Dialogue:
    """Asks for the words of ``speech``, and for nothing else."""
    return Dialogue(mode=Mode.TEXT, system=texts.recognition, question=SpeechPiece(speech), remembered=False)


# -- the format ------------------------------------------------------------------------------------------------------


class Prompter:
    """Puts words and sound between the marks of the format. ``encode`` gives the ids of a text, marks included."""

    def __init__(self, encode: Callable[[str], Sequence[int]]) -> None:
        self._encode = encode
        self._start = self._text("<|startoftext|>")
        self._roles = {role: self._text(f"<|im_start|>{role}\n") for role in ("system", "user", "assistant")}
        self.close = self._text("<|im_end|>\n")  # ends what anybody says

    @property
    def answer(self) -> TextPiece:
        """Asks for the reply: what the model reads last."""
        return self._roles["assistant"]

    def opening(self, system: str) -> tuple[Piece, ...]:
        """How every conversation begins."""
        return joined([self._start, *self._said("system", system)])

    def item(self, item: HistoryItem) -> tuple[Piece, ...]:
        """An item of the history, in words.

        Tools are told as facts by the system: the model would imitate what seems to be said by itself.
        """
        match item:
            case Message(role=role, text=text):
                return self._said(role, text)
            case ToolCall(name=name, arguments=arguments):
                return self._said("system", f"The tool {name} was called with {_shortened(arguments)}")
            case ToolResult(output=output):
                return self._said("system", f"The tool returned {_shortened(output)}")

    def spoken(self, speech: SpeechPiece) -> tuple[Piece, ...]:
        """What the user said, as it sounded."""
        return self._roles["user"], speech, self.close

    def _said(self, role: str, text: str) -> tuple[Piece, ...]:
        return joined([self._roles[role], self._text(_harmless(text)), self.close])

    def _text(self, text: str) -> TextPiece:
        return TextPiece(tuple(self._encode(text)))


def _harmless(text: str) -> str:
    """Without marks of the format, by which a text could pose as another speaker, and without halves of characters."""
    return text.encode(errors="ignore").decode().replace("<|", "< |")


def _shortened(text: str) -> str:
    return text if len(text) <= TOOL_CHARACTERS else f"{text[:TOOL_CHARACTERS]}…"


# -- a history that is too long --------------------------------------------------------------------------------------


def shortened(history: Sequence[HistoryItem]) -> Iterator[tuple[HistoryItem | None, ...]]:
    """``history``, then ever less of it: each time the oldest exchange left is left out, with None in its place.

    What the system said stays.
    """
    for start in [0, *_exchanges(history), len(history)]:
        yield tuple(item if index >= start or _by_system(item) else None for index, item in enumerate(history))


def _exchanges(history: Sequence[HistoryItem]) -> list[int]:
    """Where the user began to speak: a message of theirs that follows somebody else's."""
    users = [isinstance(item, Message) and item.role == "user" for item in history]
    return [index for index, user in enumerate(users) if user and not (index and users[index - 1])]


def _by_system(item: HistoryItem) -> bool:
    return isinstance(item, Message) and item.role == "system"
