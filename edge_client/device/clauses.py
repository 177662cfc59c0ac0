"""Cutting a reply into pieces that can be spoken one by one, while the rest is still being written."""

from __future__ import annotations

from collections.abc import Iterator

LONGEST_CLAUSE = 240  # characters; longer ones only make the caller wait
WORDS_BEFORE_COMMA = 4  # a first clause of fewer words sounds chopped

_SENTENCE_MARKS = ".!?"
_CLAUSE_MARKS = ",;:"
_CLOSERS = "\"')]”’"
_ABBREVIATIONS = frozenset("mr mrs ms dr st prof jr sr vs no fig approx".split())


class ClauseCutter:
    """Text goes in as it is written, clauses come out; together they are the text again, to the letter.

    The first clause ends at a comma if need be, so that the voice can begin; then it goes sentence by sentence. Marks
    alone make no clause. With ``eager`` a full stop counts before it is known what follows, which is quicker and now
    and then cuts a web address in two.
    """

    def __init__(self, *, eager: bool = False) -> None:
        self._eager = eager
        self._rest = ""
        self._first = True

    def feed(self, text: str) -> list[str]:
        self._rest += text
        return list(self._cut())

    def flush(self) -> list[str]:
        """What is left, be it a whole clause or not."""
        rest, self._rest = self._rest, ""
        return [rest] if rest else []

    def _cut(self) -> Iterator[str]:
        while end := self._next_end():
            clause, self._rest = self._rest[:end], self._rest[end:]
            self._first = False
            yield clause

    def _next_end(self) -> int:
        """How long the next clause is, or 0 while that is not known."""
        word_seen = False
        for place, character in enumerate(self._rest[:LONGEST_CLAUSE]):
            word_seen = word_seen or character.isalnum()
            if word_seen and self._ends_at(place):
                return place + 1
        return _last_space(self._rest) if word_seen and len(self._rest) > LONGEST_CLAUSE else 0

    def _ends_at(self, place: int) -> bool:
        return self._sentence_ends_at(place) or (self._first and self._comma_at(place))

    def _sentence_ends_at(self, place: int) -> bool:
        if self._rest[place] == "\n":
            return True
        said = self._rest[: place + 1].rstrip(_CLOSERS)
        if not said or said[-1] not in _SENTENCE_MARKS or not self._space_follows(place):
            return False
        return said[-1] != "." or not _is_abbreviation(said[:-1])

    def _space_follows(self, place: int) -> bool:
        following = self._rest[place + 1 : place + 2]
        if following:
            return following.isspace()
        return self._eager and not self._rest[place - 1].isdigit()  # "3." may become "3.14"

    def _comma_at(self, place: int) -> bool:
        if self._rest[place] not in _CLAUSE_MARKS or not self._rest[place + 1 : place + 2].isspace():
            return False
        return len(self._rest[:place].split()) >= WORDS_BEFORE_COMMA


def clauses(text: str) -> list[str]:
    """All clauses of a text that is known to its end."""
    cutter = ClauseCutter()
    return [*cutter.feed(text), *cutter.flush()]


def ends_sentence(clause: str) -> bool:
    return clause.rstrip().rstrip(_CLOSERS).endswith(tuple(_SENTENCE_MARKS))


def _is_abbreviation(before: str) -> bool:
    word = before.rsplit(maxsplit=1)[-1].lstrip("(\"'“‘").lower() if before.split() else ""
    return word in _ABBREVIATIONS or (len(word) == 1 and word.isalpha() and word != "i") or "." in word.rstrip(".")


def _last_space(text: str) -> int:
    """Just behind the last space of an overlong clause, or the limit where there is none."""
    return text.rfind(" ", 1, LONGEST_CLAUSE) + 1 or LONGEST_CLAUSE
