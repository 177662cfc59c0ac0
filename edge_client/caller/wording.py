"""Whether two sentences say the same words, however they are written."""

from __future__ import annotations

import re

from edge_client.device.spoken_numbers import numbers_in, tokens

SPELLINGS = {"%": "percent", "ok": "okay", "o'clock": "oclock"}
OLD_SPELLING = re.compile(r"\bto-(day|morrow|night)\b")


def words_of(text: str) -> tuple[str, ...]:
    """The words in lower case without punctuation; numbers as figures, however they were written."""
    words = tokens(OLD_SPELLING.sub(r"to\1", text.lower()))
    for number in reversed(numbers_in(words)):
        words[number.start : number.end] = [str(number.value)]
    return tuple(SPELLINGS.get(word, word) for word in words)


def same_words(one: str, other: str) -> bool:
    """Whether the sentences are word for word the same."""
    return words_of(one) == words_of(other)
