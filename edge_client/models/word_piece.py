"""BERT's uncased WordPiece: text to token ids."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from routing.errors import ModelError

UNKNOWN, BEGIN, END = "[UNK]", "[CLS]", "[SEP]"
CONTINUED = "##"
MAX_WORD_CHARACTERS = 100  # a longer word is unknown as a whole
MAX_TOKENS = 128  # what the sentence model was trained with
DROPPED_CATEGORIES = ("Mn", "Cc", "Cf", "Co")  # accents, and what cannot be seen


class WordPiece:
    """The vocabulary, and how to cut text into its pieces."""

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self._vocabulary = vocabulary
        self._unknown, self._begin, self._end = (vocabulary[name] for name in (UNKNOWN, BEGIN, END))

    @classmethod
    def read(cls, path: Path) -> WordPiece:
        """From a ``tokenizer.json``.

        Raises:
            ModelError: the file holds no WordPiece vocabulary.
        """
        try:
            return cls(json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{path} holds no vocabulary: {error!r}") from error

    def ids(self, text: str) -> list[int]:
        """The ids of ``text`` between begin and end; what is beyond `MAX_TOKENS` is cut off."""
        pieces = [piece for word in split_words(text) for piece in self._pieces(word)]
        return [self._begin, *pieces[: MAX_TOKENS - 2], self._end]

    def _pieces(self, word: str) -> list[int]:
        """The longest piece that fits, then the longest that continues it, and so on; all or nothing."""
        pieces: list[int] = []
        start = 0
        while start < len(word) <= MAX_WORD_CHARACTERS:
            found = self._longest(word, start)
            if found is None:
                return [self._unknown]
            piece, start = found
            pieces.append(piece)
        return pieces or [self._unknown]

    def _longest(self, word: str, start: int) -> tuple[int, int] | None:
        for end in range(len(word), start, -1):
            piece = (CONTINUED if start else "") + word[start:end]
            if piece in self._vocabulary:
                return self._vocabulary[piece], end
        return None


def split_words(text: str) -> list[str]:
    """Lower-case words without accents; each punctuation sign is a word of its own."""
    spaced = "".join(_spaced(character) for character in unicodedata.normalize("NFD", text))
    return spaced.lower().split()


def _spaced(character: str) -> str:
    """What stands for ``character`` among words: itself, itself alone, a space, or nothing."""
    category = unicodedata.category(character)
    if character.isspace():
        return " "
    if category in DROPPED_CATEGORIES or character == "\N{REPLACEMENT CHARACTER}":
        return ""
    return f" {character} " if _stands_alone(character, category) else character


def _stands_alone(character: str, category: str) -> bool:
    """Punctuation, every ASCII symbol, and the ideographs of Chinese and Japanese."""
    ascii_symbol = character.isascii() and not character.isalnum()
    return ascii_symbol or category.startswith("P") or _is_ideograph(character)


def _is_ideograph(character: str) -> bool:
    return unicodedata.name(character, "").startswith("CJK ") and unicodedata.category(character) == "Lo"
