"""An error as a log tells it: what kind it was and where it came from, without quoting what somebody said."""

from __future__ import annotations

import textwrap
import traceback

# Errors of these kinds are about a value, and most of them repeat it: the words of a question, the field of a message.
QUOTING = (ValueError, LookupError)
LEFT_OUT = "(it may quote what somebody said)"


def error_text(error: BaseException) -> str:
    """Its frames, kind and text, after those of whatever led to it; the errors of a group follow, indented."""
    return "\n".join(_told(error, set()))


def _told(error: BaseException, told: set[int]) -> list[str]:
    if id(error) in told:
        return []
    told.add(id(error))
    lines: list[str] = []
    if before := _before(error):
        lines += [*_told(before, told), "which led to"]
    lines += [line.rstrip("\n") for line in traceback.format_tb(error.__traceback__)]
    lines.append(f"{type(error).__qualname__}: {LEFT_OUT if isinstance(error, QUOTING) else error}")
    if isinstance(error, BaseExceptionGroup):
        lines += [textwrap.indent("\n".join(_told(each, told)), "  ") for each in error.exceptions]
    return lines


def _before(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)
