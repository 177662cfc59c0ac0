"""Numbers are understood as they are said, and said as they are understood."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.device.spoken_numbers import (
    SCALES,
    SMALL,
    TENS,
    NumberMention,
    SpokenNumber,
    number_at,
    numbers_in,
    read_out,
    tokens,
)


def spelled(number: int) -> str:
    """The English name of a number below a billion."""
    for word, scale in sorted(SCALES.items(), key=lambda pair: -pair[1]):
        if number >= scale:
            rest = number % scale
            return f"{spelled(number // scale)} {word}" + (f" {spelled(rest)}" if rest else "")
    if number >= 100:
        rest = number % 100
        return f"{spelled(number // 100)} hundred" + (f" and {spelled(rest)}" if rest else "")
    if number >= 20:
        tens = next(word for word, value in TENS.items() if value == number // 10 * 10)
        return tens + (f"-{spelled(number % 10)}" if number % 10 else "")
    return next(word for word, value in SMALL.items() if value == number)


@given(number=st.integers(0, 10**9 - 1))
def test_every_name_of_a_number_is_understood(number: int) -> None:
    words = tokens(spelled(number))
    assert number_at(words) == SpokenNumber(Fraction(number), len(words))


@given(number=st.integers(0, 10**9))
def test_figures_are_understood_with_and_without_commas(number: int) -> None:
    value = Fraction(number)
    assert numbers_in(tokens(f"{number} or {number:,}")) == [
        NumberMention(value, 0, 1),
        NumberMention(value, 2, 3),
    ]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("three point one four", ["3.14"]),
        ("point five", ["0.5"]),
        ("2.5 million", ["2500000"]),
        ("two and a half", ["2.5"]),
        ("a hundred", ["100"]),
        ("minus five and negative 7", ["-5", "-7"]),
        ("nineteen eighty four", ["19", "84"]),
        ("one two three", ["1", "2", "3"]),
        ("add one hundred and two thousand", ["102000"]),
        ("fish and chips for two", ["2"]),
        ("what is the point", []),
        ("a few hundred and", []),
        ("9" * 30, []),
        ("", []),
    ],
)
def test_numbers_are_found_in_a_sentence(text: str, values: list[str]) -> None:
    assert [mention.value for mention in numbers_in(tokens(text))] == [Fraction(value) for value in values]


@pytest.mark.parametrize(
    ("value", "text", "exact"),
    [
        ("1000000", "1,000,000", True),
        ("-5/2", "minus 2.5", True),
        ("1/8", "0.125", True),
        ("10/3", "3.33", False),
        ("1/3", "0.3333", False),
        ("0", "0", True),
        ("299/100", "2.99", True),
    ],
)
def test_a_voice_gets_figures_it_can_read(value: str, text: str, exact: bool) -> None:
    assert read_out(Fraction(value)) == (text, exact)


@given(text=st.text(max_size=60))
def test_any_text_has_numbers_or_none(text: str) -> None:
    words = tokens(text)
    ends = [mention.end for mention in numbers_in(words)]
    assert ends == sorted(ends)
    assert all(end <= len(words) for end in ends)
