"""What the small language model reads: a plain transcript, which it continues better than any chat template.

What the user says stands there in lower case and without a final mark. So the model can be asked, on the very words it
will answer, whether the sentence is complete, and the work of reading them is done once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from routing.turns import HistoryItem, Message

STOP = ("\n", "User:")
INSTRUCTION_BYTES = 240  # bytes, since a token is never less, in any script
HISTORY_LINES = 4  # more of them make a model of this size worse: it begins to copy
HISTORY_BYTES = 400  # about 100 tokens, read in half a second
QUESTION_BYTES = 400  # half a minute of speech; each byte may be a token, and others wait for the model meanwhile
LONGEST_ELLIPSIS = 2  # words

_OPENING = "The following is a conversation with a voice assistant. Its answers are short, correct and friendly."
_EXAMPLES = (
    ("my brother has a new car", "That's exciting! What kind of car is it?"),
    ("how far away is the sun", "The sun is about 93 million miles away."),
    ("which language is spoken in austria", "People in Austria speak German."),
    ("where is the eiffel tower", "The Eiffel Tower is in Paris, France."),
    ("i'm a bit tired today", "That happens to everyone. A short walk or a cup of tea may help."),
    ("what is the capital of italy", "The capital of Italy is Rome."),
    ("why do leaves fall in autumn", "Trees drop their leaves to save water and energy for the winter."),
)
_REFERRING = frozenset(
    "it its it's he she him her his hers they them their theirs that that's this those these there one ones again more"
    " else also too other another same first second last before earlier instead my mine we our and but or so because"
    " then really".split()
)
_POINTLESS_IT = re.compile(r"\b(?:time|day|date|month|year) (?:is it|it is)\b|\bis it (?=\w+ing\b)")


@dataclass(frozen=True, slots=True)
class Prompt:
    """What stands before the user's words: the ``opening``, and for words that point back, the ``recent`` lines."""

    opening: str
    recent: str

    def question(self, text: str) -> str:
        """Ends in the middle of the user's line: what may come next says how complete it is."""
        return self._before(text, points_back(text))

    def ahead(self, text: str) -> str:
        """How the question begins, as far as is known while the last word of ``text`` may still be half a word."""
        return self.question(text.rpartition(" ")[0])

    def reply(self, text: str) -> str:
        """Goes on from `question`, except for a word or two, which mean nothing alone: "Spain?"."""
        ellipsis = len(text.split()) <= LONGEST_ELLIPSIS
        return f"{self._before(text, ellipsis or points_back(text))}\nAssistant:"

    def _before(self, text: str, pointing_back: bool) -> str:
        recent = self.recent if pointing_back else ""
        return f"{self.opening}{recent}User: {ending(plain(text), QUESTION_BYTES)}"


def prompt_for(history: Sequence[HistoryItem], instructions: str = "") -> Prompt:
    """The few-shot transcript, and the end of the conversation."""
    opening = f"{_OPENING} {_shortened(instructions)}".rstrip()
    examples = (line for question, answer in _EXAMPLES for line in (_user(question), _assistant(answer)))
    return Prompt("\n".join([opening, *examples, ""]), "".join(f"{line}\n" for line in _recent(history)))


def points_back(text: str) -> bool:
    """Whether the words need what was said before; a question that does not is answered better without."""
    words = _POINTLESS_IT.sub("", plain(text)).split()
    return any(word.strip(",.?!") in _REFERRING for word in words)


def plain(text: str) -> str:
    """On one line, in lower case, without a final mark."""
    return " ".join(well_formed(text).lower().split()).rstrip(".?!,;: ")


def well_formed(text: str) -> str:
    """Without halves of characters, which JSON may hold and nobody can read or encode."""
    return text.encode(errors="ignore").decode()


def ending(text: str, size: int) -> str:
    """At most the last ``size`` bytes, in whole characters."""
    return text.encode()[-size:].decode(errors="ignore")


def _recent(history: Sequence[HistoryItem]) -> list[str]:
    """Whole lines from the end of the conversation; tools leave no trace but what was said about them."""
    lines: list[str] = []
    room = HISTORY_BYTES
    for line in islice(_lines_backwards(history), HISTORY_LINES):
        room -= len(line.encode())
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
    return f"Assistant: {' '.join(well_formed(text).split())}"


def _shortened(instructions: str) -> str:
    """Whole words from the beginning: a small model follows a sentence, not a page."""
    text = " ".join(well_formed(instructions).split())
    if len(text.encode()) <= INSTRUCTION_BYTES:
        return text
    return text.encode()[:INSTRUCTION_BYTES].decode(errors="ignore").rpartition(" ")[0]
