"""Numbers as people say them, and as a voice should read them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

SMALL = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
        " seventeen eighteen nineteen".split()
    )
}
TENS = {
    word: 10 * value for value, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)
}
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
PARTS = {"half": Fraction(1, 2), "quarter": Fraction(1, 4), "third": Fraction(1, 3), "tenth": Fraction(1, 10)}
LARGEST_FIGURE = 15  # digits; more are noise, and cost time

_TOKEN = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\d*\.\d+|\d+|[a-z]+(?:'[a-z]+)?|[%+*/^×÷=−-]", re.ASCII)
_JOINED = re.compile(r"(?<=[a-z0-9])-(?=[a-z])")  # twenty-five, 10-minute
_FIGURE = re.compile(r"\d[\d,]*(?:\.\d+)?|\.\d+", re.ASCII)


class SpokenNumber(NamedTuple):
    value: Fraction
    end: int  # index of the first word that does not belong to it


class NumberMention(NamedTuple):
    value: Fraction
    start: int
    end: int


class Reading(NamedTuple):
    text: str
    exact: bool


def tokens(text: str) -> list[str]:
    """The words, figures and signs of a sentence, in lower case; "twenty-five" is two words and "15%" is too."""
    return _TOKEN.findall(_JOINED.sub(" ", text.lower().replace("’", "'")))


def number_at(words: Sequence[str], start: int = 0) -> SpokenNumber | None:
    """The longest number that begins at ``start``: "two hundred and five", "3.5", "three point one four"."""
    whole = _whole_at(words, start)
    if whole is None and _word(words, start) != "point":
        return None
    return _with_part(words, _with_decimals(words, whole or SpokenNumber(Fraction(0), start)))


def numbers_in(words: Sequence[str]) -> list[NumberMention]:
    """Every number of a sentence, in order, with its sign."""
    found: list[NumberMention] = []
    place = 0
    while place < len(words):
        number = number_at(words, place)
        if number is None or number.end == place:
            place += 1
            continue
        sign = -1 if place and words[place - 1] in ("minus", "negative") else 1
        found.append(NumberMention(sign * number.value, place, number.end))
        place = number.end
    return found


def read_out(value: Fraction) -> Reading:
    """Figures that a voice can read, with few decimals; ``exact`` says whether any were lost."""
    shown = value
    if 10_000 % value.denominator:  # more than four decimals
        shown = round(value, 2 if abs(value) >= 1 else 4)
    size = abs(shown)
    text = f"{size.numerator:,}" if size.denominator == 1 else f"{float(size):,.4f}".rstrip("0")
    return Reading(f"minus {text}" if shown < 0 else text, shown == value)


# -- parts of a number -------------------------------------------------------------------------------------------------


def _whole_at(words: Sequence[str], start: int) -> SpokenNumber | None:
    """Groups of three digits and their scales: "two million three hundred thousand and five"."""
    total, place, last_scale = Fraction(0), start, max(SCALES.values()) * 1000
    while group := _group_at(words, _after_and(words, place) if place > start else place):
        scale = SCALES.get(_word(words, group.end), 1)
        if scale >= last_scale:
            break
        total, place, last_scale = total + group.value * scale, group.end, scale
        if scale == 1:
            break
        place += 1
    return SpokenNumber(total, place) if place > start else None


def _group_at(words: Sequence[str], start: int) -> SpokenNumber | None:
    """A number below a thousand in words, or any number in figures."""
    number = _below_hundred_at(words, start) or _article_at(words, start)
    if number is None or _word(words, number.end) != "hundred":
        return number
    place = number.end + 1
    rest = _below_hundred_at(words, _after_and(words, place)) or SpokenNumber(Fraction(0), place)
    return SpokenNumber(number.value * 100 + rest.value, rest.end)


def _below_hundred_at(words: Sequence[str], start: int) -> SpokenNumber | None:
    word = _word(words, start)
    if _FIGURE.fullmatch(word) and len(word) <= LARGEST_FIGURE:
        return SpokenNumber(Fraction(word.replace(",", "")), start + 1)
    if word in SMALL:
        return SpokenNumber(Fraction(SMALL[word]), start + 1)
    if word not in TENS:
        return None
    unit = SMALL.get(_word(words, start + 1), 0)
    return SpokenNumber(Fraction(TENS[word] + unit), start + 2) if 0 < unit < 10 else _just(TENS[word], start)


def _article_at(words: Sequence[str], start: int) -> SpokenNumber | None:
    """ "a" in "a hundred" and "a million"."""
    counts = _word(words, start + 1) in {"hundred", *SCALES}
    return _just(1, start) if counts and _word(words, start) == "a" else None


def _with_decimals(words: Sequence[str], number: SpokenNumber) -> SpokenNumber:
    """ "three" and then "point one four", or "point 14"."""
    if _word(words, number.end) != "point":
        return number
    place, digits = number.end + 1, ""
    while (word := _word(words, place)).isdecimal() or SMALL.get(word, 10) < 10:
        digits += word if word.isdecimal() else str(SMALL[word])
        place += 1
    if not digits or len(digits) > LARGEST_FIGURE:
        return number
    return SpokenNumber(number.value + Fraction(int(digits), 10 ** len(digits)), place)


def _with_part(words: Sequence[str], number: SpokenNumber) -> SpokenNumber:
    """ "two" and then "and a half"."""
    part = PARTS.get(_word(words, number.end + 2))
    if part is None or list(words[number.end : number.end + 2]) != ["and", "a"]:
        return number
    return SpokenNumber(number.value + part, number.end + 3)


def _just(value: int, start: int) -> SpokenNumber:
    return SpokenNumber(Fraction(value), start + 1)


def _word(words: Sequence[str], place: int) -> str:
    return words[place] if place < len(words) else ""


def _after_and(words: Sequence[str], place: int) -> int:
    """ "and" binds only in front of a number: "two hundred and five"."""
    return place + 1 if _word(words, place) == "and" else place
