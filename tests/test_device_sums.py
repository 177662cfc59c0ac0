"""Sums are worked out exactly, or not at all."""

from __future__ import annotations

import operator
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.device.arithmetic_skill import arithmetic
from edge_client.device.skills import Request
from edge_client.device.sums import LARGEST_RESULT, NoResult, NotASum, work_out

OPERATORS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "plus": operator.add,
    "minus": operator.sub,
    "times": operator.mul,
    "divided by": operator.truediv,
}


def asked(text: str) -> Request:
    return Request(text, datetime(2026, 1, 1, tzinfo=UTC))


@given(left=st.integers(-1000, 1000), right=st.integers(1, 1000), word=st.sampled_from(sorted(OPERATORS)))
def test_two_numbers_and_an_operator(left: int, right: int, word: str) -> None:
    expected = OPERATORS[word](Fraction(left), Fraction(right))
    assert work_out(f"What is {left} {word} {right}?").value == expected


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("What is twenty five times four?", "25 times 4 is 100."),
        ("What's 15% of 80?", "15 percent of 80 is 12."),
        ("What's a 20% tip on $60?", "20 percent of 60 is 12."),
        ("20 percent off 50", "20 percent off 50 is 40."),
        ("What is twenty per cent of eighty?", "20 percent of 80 is 16."),
        ("What is 20 per cent of 80?", "20 percent of 80 is 16."),
        ("What's the square root of 144?", "The square root of 144 is 12."),
        ("Square root of two.", "The square root of 2 is about 1.41."),
        ("cube root of 27", "The cube root of 27 is 3."),
        ("seven minus ten", "7 minus 10 is minus 3."),
        ("What is ten divided by three?", "10 divided by 3 is about 3.33."),
        ("two plus two times three", "2 plus 2 times 3 is 8."),
        ("What's 5+3?", "5 plus 3 is 8."),
        ("12 × 12 =", "12 times 12 is 144."),
        ("5 squared plus 12 squared", "5 squared plus 12 squared is 169."),
        ("two to the power of ten", "2 to the power of 10 is 1,024."),
        ("half of ninety", "Half of 90 is 45."),
        ("what is a quarter of a hundred", "A quarter of 100 is 25."),
        ("two thirds of 90", "2 thirds of 90 is 60."),
        ("one half plus one third", "1 half plus 1 third is about 0.8333."),
        ("what's two and a half times four", "2.5 times 4 is 10."),
        ("Add two hundred and five and three.", "205 plus 3 is 208."),
        ("subtract 3 from 10", "10 minus 3 is 7."),
        ("the difference between 10 and 3", "10 minus 3 is 7."),
        ("multiply six by seven please", "6 times 7 is 42."),
        ("divide 100 by 8", "100 divided by 8 is 12.5."),
        ("hey, can you tell me what 17 times 23 is", "17 times 23 is 391."),
        ("what's minus five plus three", "Minus 5 plus 3 is minus 2."),
        ("twenty minus five", "20 minus 5 is 15."),
        ("ten divided by zero", "You can't divide by zero."),
        ("zero to the power of minus one", "You can't divide by zero."),
        ("nine to the power of ninety", "That number is too large for me."),
        ("a billion times a billion", "That number is too large for me."),
        ("two to the power of one half", "I can only work out whole powers."),
        ("what is the square root of minus four", "I can't take the root of a negative number."),
    ],
)
def test_sums_as_people_say_them(text: str, answer: str) -> None:
    said = arithmetic.answer(asked(text))
    assert arithmetic.recognises(asked(text))
    assert said is not None
    assert said.text == answer


@pytest.mark.parametrize(
    "text",
    [
        "what is five",
        "what is minus five",
        "two plus",
        "two plus two in french",
        "how many days are in a week",
        "what is the square root",
        "add milk and eggs to my list",
        "times are hard",
        "plus " * 100,
        "",
    ],
)
def test_what_is_no_sum_is_left_alone(text: str) -> None:
    assert not arithmetic.recognises(asked(text))
    with pytest.raises(NotASum):
        work_out(text)


def test_a_sum_that_is_not_understood_gets_advice_and_not_a_guess() -> None:
    said = arithmetic.answer(asked("what do three apples and two apples cost"))
    assert said is not None
    assert said.text.startswith("I can't work that out.")


@given(
    text=st.lists(
        st.sampled_from("1 20 five hundred point plus minus times over ^ squared of half percent - a".split())
    )
)
def test_any_heap_of_words_ends_in_a_result_or_a_refusal(text: list[str]) -> None:
    with suppress(NotASum, NoResult):
        assert abs(work_out(" ".join(text)).value) <= LARGEST_RESULT
