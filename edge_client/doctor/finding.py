"""What was found: one line of the doctor's report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, get_args

type Verdict = Literal["ok", "warning", "fault", "skipped"]

VERDICTS: tuple[Verdict, ...] = get_args(Verdict.__value__)
HIDDEN = "•••"
SHORTEST_SECRET = 4  # of those that are searched for: a shorter one would take words apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Args:
        about: what, in a word or two
        found: what there is
        expected: what there should be; empty where that goes without saying
        advice: one sentence: what to do about it
    """

    about: str
    verdict: Verdict
    found: str
    expected: str = ""
    advice: str = ""

    @property
    def line(self) -> str:
        """All of it but the verdict, as a person reads it."""
        told = f"expected {self.expected}, found {self.found}" if self.expected else self.found
        return f"{told}. {self.advice}" if self.advice else told

    def without(self, secrets: Iterable[str]) -> Finding:
        """The same with every secret hidden, whoever repeated it."""
        found, expected, advice = self.found, self.expected, self.advice
        for secret in secrets:
            if len(secret) >= SHORTEST_SECRET:
                found, expected, advice = (text.replace(secret, HIDDEN) for text in (found, expected, advice))
        return replace(self, found=found, expected=expected, advice=advice)


def ok(about: str, found: str, *, advice: str = "") -> Finding:
    """All is well; ``advice`` is for whoever wants more."""
    return Finding(about=about, verdict="ok", found=found, advice=advice)


def warning(about: str, found: str, *, expected: str, advice: str) -> Finding:
    """It works, and not as well or not as safely as it could."""
    return Finding(about=about, verdict="warning", found=found, expected=expected, advice=advice)


def fault(about: str, found: str, *, expected: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(about=about, verdict="fault", found=found, expected=expected, advice=advice)


def skipped(about: str, found: str, *, advice: str = "") -> Finding:
    """It was not looked at; ``found`` says why."""
    return Finding(about=about, verdict="skipped", found=found, advice=advice)
