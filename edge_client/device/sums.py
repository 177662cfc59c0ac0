"""Sums in spoken English, worked out exactly: "twelve times eight", "15 percent of 80", "the square root of 2"."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import NamedTuple

from edge_client.device.spoken_numbers import PARTS, number_at, read_out, tokens

LARGEST_RESULT = 10**15
LARGEST_EXPONENT = 64
MOST_SYMBOLS = 60  # a longer sum was not said on purpose
ROOT_DIGITS = 20

TOO_LARGE = "That number is too large for me."
DIVISION_BY_ZERO = "You can't divide by zero."

_LEAD_IN = frozenset(
    "what what's whats is how how's much many calculate compute work out tell me can could would you please the result"
    " value of answer to hey hi ok okay so and now then do does solve give i want know need".split()
)
_LEAD_OUT = frozenset("please equal equals is to now exactly make makes again then = added together".split())

_PHRASES = (  # spoken operators; longer ones come before those they contain
    ("raised to the power of", "^"),
    ("to the power of", "^"),
    ("raised to", "^"),
    ("multiplied by", "*"),
    ("divided by", "/"),
    ("the square root of", "square_root"),
    ("square root of", "square_root"),
    ("the cube root of", "cube_root"),
    ("cube root of", "cube_root"),
    ("take away", "-"),
    ("per cent", "percent"),
    ("percent of", "percent_of"),
    ("percent tip on", "percent_of"),
    ("percent off of", "percent_off"),
    ("percent off", "percent_off"),
    ("squared", "^ 2"),
    ("cubed", "^ 3"),
    ("plus", "+"),
    ("minus", "-"),
    ("negative", "-"),
    ("times", "*"),
    ("over", "/"),
)
_SIGNS = {"×": "*", "x": "*", "÷": "/", "−": "-", "%": "percent"}
_PARTS = PARTS | {f"{name}s": part for name, part in PARTS.items()} | {"halves": PARTS["half"]}
_SPOKEN = {"+": "plus", "-": "minus", "*": "times", "/": "divided by", "^": "to the power of"}


class _Telling(NamedTuple):
    """How a sum is told instead of being read out: "add five and three"."""

    joiners: frozenset[str]
    operator: str
    swapped: bool = False


_TELLINGS = {
    "add": _Telling(frozenset({"and", "to"}), "+"),
    "sum": _Telling(frozenset({"and"}), "+"),
    "multiply": _Telling(frozenset({"by", "and", "with"}), "*"),
    "product": _Telling(frozenset({"and"}), "*"),
    "divide": _Telling(frozenset({"by"}), "/"),
    "subtract": _Telling(frozenset({"from"}), "-", swapped=True),
    "difference": _Telling(frozenset({"and"}), "-"),
}


class NotASum(Exception):
    """The words are about something else."""


class NoResult(Exception):
    """A sum indeed, but one without an answer that can be said; the message is fit to be spoken."""


class Term(NamedTuple):
    """A value with the words that stand for it."""

    value: Fraction
    words: str


def work_out(text: str) -> Term:
    """The sum that ``text`` asks for. Every word must belong to it, and it must have an operator.

    Raises:
        NotASum: the words are about something else.
        NoResult: it cannot be worked out, or not be said.
    """
    symbols = _symbols(text)
    if len(symbols) > MOST_SYMBOLS or _is_number(symbols):
        raise NotASum
    telling = _TELLINGS.get(symbols[0]) if symbols else None
    return _told(symbols[1:], telling) if telling else _Reader(symbols).everything()


def _symbols(text: str) -> list[str]:
    """Words, figures and operators, without what is only said around them."""
    spoken = " ".join(["", *(_SIGNS.get(token, token) for token in tokens(text)), ""])
    for phrase, symbol in _PHRASES:
        spoken = spoken.replace(f" {phrase} ", f" {symbol} ")
    words = spoken.split()
    while words and words[0] in _LEAD_IN:
        words.pop(0)
    while words and words[-1] in _LEAD_OUT:
        words.pop()
    if len(words) > 1 and words[0] == "a" and words[1].isdecimal():  # a 20 percent tip
        words.pop(0)
    return words


def _is_number(symbols: Sequence[str]) -> bool:
    start = 1 if symbols and symbols[0] == "-" else 0
    number = number_at(symbols, start)
    return number is not None and number.end == len(symbols)


def _told(symbols: Sequence[str], telling: _Telling) -> Term:
    """Try every joiner: "add two hundred and five and three" has two."""
    words = [symbol for symbol in symbols if symbol not in ("of", "between", "the")]
    for place, word in enumerate(words):
        if word not in telling.joiners:
            continue
        try:
            sides = _Reader(words[:place]).everything(), _Reader(words[place + 1 :]).everything()
        except NotASum:
            continue
        left, right = reversed(sides) if telling.swapped else sides
        return _apply(telling.operator, left, right)
    raise NotASum


class _Reader:
    """Reads symbols from left to right, the tightest binding innermost."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self._symbols = symbols
        self._place = 0

    def everything(self) -> Term:
        term = self._sum()
        if self._place < len(self._symbols):
            raise NotASum
        return term

    def _next(self) -> str:
        return self._symbols[self._place] if self._place < len(self._symbols) else ""

    def _take(self, *symbols: str) -> str | None:
        if (symbol := self._next()) not in symbols:
            return None
        self._place += 1
        return symbol

    def _sum(self) -> Term:
        term = self._product()
        while operator := self._take("+", "-"):
            term = _apply(operator, term, self._product())
        return term

    def _product(self) -> Term:
        term = self._share()
        while operator := self._take("*", "/"):
            term = _apply(operator, term, self._share())
        return term

    def _share(self) -> Term:
        """ "15 percent of 80", "20 percent off 50", "half of 9", or a power."""
        if part := self._part():
            return _times(part, self._share(), "of")
        term = self._power()
        if self._take("percent_of"):
            return _times(Term(term.value / 100, f"{term.words} percent"), self._share(), "of")
        if self._take("percent_off"):
            return _times(Term(1 - term.value / 100, f"{term.words} percent"), self._share(), "off")
        return term

    def _part(self) -> Term | None:
        start = self._place + (self._next() == "a")
        words = self._symbols[start : start + 2]
        if len(words) < 2 or words[0] not in PARTS or words[1] != "of":
            return None
        self._place = start + 2
        return Term(PARTS[words[0]], words[0] if words[0] == "half" else f"a {words[0]}")

    def _power(self) -> Term:
        base = self._signed()
        return _apply("^", base, self._power()) if self._take("^") else base

    def _signed(self) -> Term:
        if self._take("-"):
            term = self._signed()
            return Term(-term.value, f"minus {term.words}")
        if self._take("square_root"):
            return _root(self._signed(), 2, "the square root of")
        if self._take("cube_root"):
            return _root(self._signed(), 3, "the cube root of")
        return self._number()

    def _number(self) -> Term:
        number = number_at(self._symbols, self._place)
        if number is None or number.end == self._place:
            raise NotASum
        self._place = number.end
        term = Term(number.value, read_out(number.value).text)
        part = self._take(*_PARTS)
        if part is None:
            return term
        share = Term(term.value * _PARTS[part], f"{term.words} {part}")
        return _times(share, self._share(), "of") if self._take("of") else share


def _apply(operator: str, left: Term, right: Term) -> Term:
    words = f"{left.words} {_SPOKEN[operator]} {right.words}"
    if operator == "^":
        return _power(left, right, words)
    match operator:
        case "+":
            return _sayable(left.value + right.value, words)
        case "-":
            return _sayable(left.value - right.value, words)
        case "*":
            return _sayable(left.value * right.value, words)
    if right.value == 0:
        raise NoResult(DIVISION_BY_ZERO)
    return _sayable(left.value / right.value, words)


def _times(share: Term, whole: Term, word: str) -> Term:
    return _sayable(share.value * whole.value, f"{share.words} {word} {whole.words}")


def _power(left: Term, right: Term, words: str) -> Term:
    base, exponent = left.value, right.value
    if exponent.denominator > 1:
        raise NoResult("I can only work out whole powers.")
    if abs(exponent) > LARGEST_EXPONENT:
        raise NoResult(TOO_LARGE)
    if base == 0 and exponent < 0:
        raise NoResult(DIVISION_BY_ZERO)
    name = {2: "squared", 3: "cubed"}.get(int(exponent))
    return _sayable(base ** int(exponent), f"{left.words} {name}" if name else words)


def _root(term: Term, degree: int, name: str) -> Term:
    if term.value < 0:
        raise NoResult("I can't take the root of a negative number.")
    with localcontext(prec=2 * ROOT_DIGITS):
        quotient = Decimal(term.value.numerator) / Decimal(term.value.denominator)
        root = quotient ** (Decimal(1) / degree) if quotient else Decimal(0)
        near = round(root, ROOT_DIGITS)
    return Term(Fraction(near), f"{name} {term.words}")


def _sayable(value: Fraction, words: str) -> Term:
    if abs(value) > LARGEST_RESULT:
        raise NoResult(TOO_LARGE)
    return Term(value, words)
