"""Sums, answered exactly."""

from __future__ import annotations

from edge_client.device.skills import Request, skill
from edge_client.device.spoken_numbers import numbers_in, read_out, tokens
from edge_client.device.sums import NoResult, NotASum, Term, work_out


def is_sum(request: Request) -> bool:
    try:
        work_out(request.text)
    except NoResult:
        return True
    except NotASum:
        return False
    return True


@skill(
    "what is two plus two",
    "how much is five times six",
    "what is seven minus three",
    "calculate ten divided by four",
    "what is fifteen percent of eighty",
    "what is the square root of nine",
    "add these numbers",
    recognises=is_sum,
)
def arithmetic(request: Request) -> str | None:
    """The result, said with the sum, so that the caller hears what was understood."""
    try:
        return _said(work_out(request.text))
    except NoResult as refusal:
        return str(refusal)
    except NotASum:
        several = len(numbers_in(tokens(request.text))) > 1
        return "I can't work that out. Ask me like this: what is five times six?" if several else None


def _said(term: Term) -> str:
    reading = read_out(term.value)
    sentence = f"{term.words} is {'' if reading.exact else 'about '}{reading.text}."
    return sentence[0].upper() + sentence[1:]
