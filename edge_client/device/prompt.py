"""What the small language model reads: a plain transcript, which it continues better than any chat template.

What the user says stands there in lower case and without a final mark. So the model can be asked, on the very words it
will answer, whether the sentence is complete, and the work of reading them is done once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from routing.turns import HistoryItem, Message

STOP = ("\n", "User:")
INSTRUCTION_CHARACTERS = 240
HISTORY_CHARACTERS = 1400  # about 350 tokens of the model's 1024
QUESTION_CHARACTERS = 1000

_OPENING = (
    "The following is a conversation with a voice assistant. Its answers are short, correct and friendly."
)
_EXAMPLES = (
    ("what is the capital of italy", "The capital of Italy is Rome."),
    ("i'm a bit tired today", "That happens to everyone. A short walk or a cup of tea may help."),
    ("how do i cook rice", "Boil one cup of rice in two cups of water for about fifteen minutes."),
    ("who discovered penicillin", "Alexander Fleming discovered penicillin in 1928."),
    ("my brother has a new car", "That's exciting! What kind of car is it?"),
    ("why do leaves fall in autumn", "Trees drop their leaves to save water and energy for the winter."),
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """``opening`` is everything before the user's words, which is the same for every attempt at a turn."""

    opening: str

    def question(self, text: str) -> str:
        """Ends in the middle of the user's line: what may come next says how complete it is."""
        return f"{self.opening}User: {plain(text)[-QUESTION_CHARACTERS:]}"

    def reply(self, text: str) -> str:
        return f"{self.question(text)}\nAssistant:"


def prompt_for(history: Sequence[HistoryItem], instructions: str = "") -> Prompt:
    """The few-shot transcript with as much of the conversation as fits, the latest of it."""
    opening = f"{_OPENING} {_shortened(instructions)}".rstrip()
    examples = (line for question, answer in _EXAMPLES for line in (_user(question), _assistant(answer)))
    return Prompt("\n".join([opening, *examples, *_recent(history), ""]))


def plain(text: str) -> str:
    """On one line, in lower case, without a final mark."""
    return " ".join(text.lower().split()).rstrip(".?!,;: ")


def _recent(history: Sequence[HistoryItem]) -> list[str]:
    """Whole lines from the end of the conversation; tools leave no trace but what was said about them."""
    lines: list[str] = []
    room = HISTORY_CHARACTERS
    for line in _lines_backwards(history):
        room -= len(line)
        if room < 0:
            break
        lines.insert(0, line)
    return lines


def _lines_backwards(history: Sequence[HistoryItem]) -> Iterator[str]:
    for item in reversed(history):
        match item:
            case Message("user", text) if plain(text):
                yield _user(text)
            case Message("assistant", text) if text.strip():
                yield _assistant(text)


def _user(text: str) -> str:
    return f"User: {plain(text)}"


def _assistant(text: str) -> str:
    return f"Assistant: {' '.join(text.split())}"


def _shortened(instructions: str) -> str:
    """Whole words from the beginning: a small model follows a sentence, not a page."""
    text = " ".join(instructions.split())
    return text if len(text) <= INSTRUCTION_CHARACTERS else text[:INSTRUCTION_CHARACTERS].rsplit(" ", 1)[0]
