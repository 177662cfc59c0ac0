"""Durations as people say them: "ten minutes", "an hour and a half", "three quarters of an hour"."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from edge_client.device.spoken_numbers import PARTS, SpokenNumber, number_at

_UNITS = {
    name: seconds
    for names, seconds in (
        ("second seconds sec secs", 1),
        ("minute minutes min mins", 60),
        ("hour hours hr hrs", 3600),
        ("day days", 86_400),
    )
    for name in names.split()
}
_ARTICLES = ("a", "an", "one")
_SIZES = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))


class Duration(NamedTuple):
    """``seconds`` said by the words from ``start`` up to ``end``."""

    seconds: float
    start: int
    end: int


def duration_in(words: Sequence[str]) -> Duration | None:
    """The first duration among lower-case words, with all its parts: "one hour and thirty minutes"."""
    return next((found for place in range(len(words)) if (found := _duration_at(words, place))), None)


def say_duration(seconds: float) -> str:
    """ "1 hour and 30 minutes"; nothing below a second."""
    rest, parts = round(seconds), list[str]()
    for name, size in _SIZES:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {name}{'' if count == 1 else 's'}")
    *first, last = parts or ["0 seconds"]
    return f"{', '.join(first)} and {last}" if first else last


def _duration_at(words: Sequence[str], start: int) -> Duration | None:
    total, place = Fraction(0), start
    while stretch := _stretch_at(words, _behind_and(words, place) if place > start else place):
        total, place = total + stretch.value, stretch.end
    return Duration(float(total), start, place) if place > start else None


def _stretch_at(words: Sequence[str], start: int) -> SpokenNumber | None:
    """A count and its unit, then perhaps "and a half"; the value is in seconds."""
    count = _part_at(words, start) or _count_at(words, start)
    unit = _UNITS.get(_word(words, count.end)) if count else None
    if count is None or unit is None:
        return None
    place = count.end + 1
    extra = PARTS.get(_word(words, place + 2), Fraction(0)) if _and_a_at(words, place) else Fraction(0)
    return SpokenNumber((count.value + extra) * unit, place + (3 if extra else 0))


def _count_at(words: Sequence[str], start: int) -> SpokenNumber | None:
    if number := number_at(words, start):
        return number
    if list(words[start : start + 3]) == ["a", "couple", "of"]:
        return SpokenNumber(Fraction(2), start + 3)
    return SpokenNumber(Fraction(1), start + 1) if _word(words, start) in _ARTICLES else None


def _part_at(words: Sequence[str], start: int) -> SpokenNumber | None:
    """ "half an", "a quarter of an", "three quarters of an"."""
    many = number_at(words, start)
    count = many.value if many else Fraction(1)
    place = many.end if many else start + (_word(words, start) == "a")
    part = PARTS.get(_word(words, place).removesuffix("s"))
    if part is None:
        return None
    place += 1
    place += _word(words, place) == "of"
    place += _word(words, place) in _ARTICLES
    return SpokenNumber(count * part, place)


def _and_a_at(words: Sequence[str], place: int) -> bool:
    return list(words[place : place + 2]) == ["and", "a"]


def _behind_and(words: Sequence[str], place: int) -> int:
    return place + (_word(words, place) == "and")


def _word(words: Sequence[str], place: int) -> str:
    return words[place] if place < len(words) else ""
