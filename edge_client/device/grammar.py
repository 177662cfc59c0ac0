"""A small algebra of texts, written out as GBNF for the language model.

Built from a tool's schema and the user's sentence, it holds the model to arguments that were said: where the
algebra leaves one text only, the model need not be asked at all.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

LONGEST_RUN = 12  # words


@dataclass(frozen=True, slots=True)
class Text:
    """Exactly this."""

    text: str


@dataclass(frozen=True, slots=True)
class Series:
    """One after the other."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of these."""

    options: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Maybe:
    """This or nothing."""

    part: Expression


@dataclass(frozen=True, slots=True)
class Figure:
    """Any number of up to four digits."""


type Expression = Text | Series | Choice | Maybe | Figure


def choice(options: Sequence[Expression]) -> Expression:
    return options[0] if len(options) == 1 else Choice(tuple(options))


def spans(words: Sequence[str], starts: Collection[int], ends: Collection[int]) -> Expression:
    """Every run of ``words`` from one of ``starts`` to one of ``ends``; runs that begin together share their beginning.

    A run has at most `LONGEST_RUN` words, and at least one must be possible.
    """
    runs = (_runs(words, start, _reachable(ends, start)) for start in sorted(starts))
    return choice([run for run in runs if run is not None])


def _reachable(ends: Collection[int], start: int) -> list[int]:
    return sorted(end for end in ends if start <= end < start + LONGEST_RUN)


def _runs(words: Sequence[str], start: int, ends: Sequence[int]) -> Expression | None:
    """Built from the last word to the first, each with what may follow."""
    if not ends:
        return None
    run: Expression = Text(words[ends[-1]])
    for place in range(ends[-1] - 1, start - 1, -1):
        rest = Series((Text(" "), run))
        run = Series((Text(words[place]), Maybe(rest) if place in ends else rest))
    return run


def only_text(expression: Expression) -> str | None:
    """The text that ``expression`` stands for, if it is one only."""
    match expression:
        case Text(text):
            return text
        case Series(parts):
            texts = [only_text(part) for part in parts]
            return None if None in texts else "".join(text for text in texts if text is not None)
    return None


def gbnf(expression: Expression) -> str:
    return f"root ::= {_written(expression)}"


def _written(expression: Expression) -> str:
    match expression:
        case Text(text):
            return _quoted(text)
        case Series(parts):
            return " ".join(_written(part) for part in parts)
        case Choice(options):
            return f"({' | '.join(_written(option) for option in options)})"
        case Maybe(part):
            return f"({_written(part)})?"
    return '("-"? [0-9] [0-9]? [0-9]? [0-9]?)'


def _quoted(text: str) -> str:
    """A GBNF literal has the escapes of JSON, and takes other characters as they are."""
    return json.dumps(text, ensure_ascii=False)
