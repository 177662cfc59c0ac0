"""Text to ids and back: what the model reads, and what can be read of its reply while it is still coming."""

from __future__ import annotations

import re
from collections.abc import Set

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

MARK = re.compile(r"<\|.*\|>")  # by which a tokenizer's own list may call it an ordinary token
HALF_CHARACTER = "\N{REPLACEMENT CHARACTER}"


class Vocabulary:
    """A checkpoint's tokenizer, as the engine uses it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder()
        self._silent = frozenset(
            number for number, token in added.items() if token.special or MARK.fullmatch(token.content)
        )

    def encode(self, text: str) -> list[int]:
        """The ids of ``text``, which may hold control tokens by name; nothing is added to them."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def text_stream(self) -> TextStream:
        """For one reply."""
        return TextStream(self._tokenizer, self._silent)


class TextStream:
    """Makes text of a reply's tokens as they come, in whole characters. ``silent`` tokens have none."""

    def __init__(self, tokenizer: Tokenizer, silent: Set[int]) -> None:
        self._tokenizer = tokenizer
        self._silent = silent
        self._stream = DecodeStream(skip_special_tokens=True)
        self._ids: list[int] = []
        self._length = 0  # of the text that was given

    def feed(self, token: int) -> str:
        """The text that can be read now and could not before; empty while the character is not complete."""
        if token in self._silent:
            return ""
        self._ids.append(token)
        text: str = self._stream.step(self._tokenizer, token) or ""
        self._length += len(text)
        return text

    def flush(self) -> str:
        """What was held back for the rest of its last character; that half of a character is dropped."""
        text: str = self._tokenizer.decode(self._ids, skip_special_tokens=True)
        rest = text[self._length :].rstrip(HALF_CHARACTER)
        self._length += len(rest)
        return rest
