"""What a turn asks for, as far as its words tell: read between a turn's end and its answer, so it must be quick.

Two kinds of question are better not answered by a small model: what one must know, and what takes many sentences. They
are told from English phrases that nobody uses for anything else; where in doubt, a question is an ordinary one. What
the device answers by rule, such as sums, times and timers, is ordinary too.
"""

from __future__ import annotations

import re
from dataclasses import replace

from routing.policy import Question
from routing.router import question_of
from routing.turns import Message, Turn

LONGEST_READ = 400  # characters; what is wanted is said at the beginning or at the end

_KNOWLEDGE = re.compile(
    r"""\b(?:
      who\ (?:was|were|invented|wrote|discovered|painted|composed|founded|won)
    | (?:what|which)\ (?:is|was|are|were)\ the\ (?:capital|population|history|meaning|difference|cause|origin|theory)
    | (?:when|where|why|how)\ (?:did|was|were)\ (?!(?:you|i|we|it)\b)\w+
    | why\ (?:do|does|is|are)\ (?!(?:you|i|we|it)\b)\w+
    | how\ (?:do|does)\ (?!(?:you|i|we|it)\b)\w+(?:\ \w+){0,3}\ work
    | (?:explain|describe|define|compare|summari[sz]e|translate)\b
    | (?:the\ history|the\ meaning|the\ theory)\ of
    | tell\ me\ (?:more\ )?about\ (?!you|it\b)\w+
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_LONG = re.compile(
    r"""\b(?:
      (?:tell|read|write)\ (?:me\ |us\ )?(?:an?|another|the|some)\ (?:\w+\ ){0,2}(?:story|tale|poem|essay|speech)
    | (?:explain|describe)\b
    | step\ by\ step | in\ detail | at\ length
    | teach\ me
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def understand(turn: Turn, words: str, speech_sec: float) -> Question:
    """What is asked: of a spoken turn by its ``words``, of another one by what was typed last."""
    read = " ".join((words or _typed(turn)).split())
    ends = f"{read[:LONGEST_READ]} {read[LONGEST_READ:][-LONGEST_READ:]}"
    return replace(
        question_of(turn, words, speech_sec),
        wants_knowledge=bool(_KNOWLEDGE.search(ends)),
        wants_long_answer=bool(_LONG.search(ends)),
    )


def _typed(turn: Turn) -> str:
    last = turn.history[-1] if turn.history else None
    return last.text if isinstance(last, Message) and last.role == "user" and turn.script is None else ""
