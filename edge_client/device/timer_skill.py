"""Timers and reminders: "set a timer for ten minutes", "remind me at five to call my mother"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from edge_client.device.clock_times import clock_time_in, say_clock_time, time_words
from edge_client.device.durations import duration_in, say_duration
from edge_client.device.skills import Answer, Request, skill
from routing.turns import Reminder

LONGEST_SEC = 86_400.0
ASK_HOW_LONG = "For how long?"
ASK_WHEN = "When shall I remind you?"

_KINDS: dict[str, Literal["timer", "reminder", "alarm"]] = {
    "timer": "timer",
    "countdown": "timer",
    "remind": "reminder",
    "reminder": "reminder",
    "alarm": "alarm",
    "wake": "alarm",
}
_CHANGES = frozenset("cancel stop delete remove clear pause left remaining change did was what how".split())
_TASK = re.compile(r"\b(?:remind me|reminder)\b(.*)")
_TASK_FRAME = re.compile(r"^(?:please |to |about |that |of |for )+|(?: please| from now| later)+$")
_NAME = re.compile(r"(?<=[a-z0-9,] )[A-Z][a-z]+")
_SECOND_PERSON = {
    "my": "your",
    "i": "you",
    "me": "you",
    "mine": "yours",
    "i'm": "you're",
    "am": "are",
    "myself": "yourself",
    "i'll": "you'll",
    "our": "your",
}


class When(NamedTuple):
    """How long from now, how to say it, and which words said so."""

    delay_sec: float
    words: str
    start: int
    end: int


class Wish(NamedTuple):
    kind: Literal["timer", "reminder", "alarm"]
    when: When | None
    task: str  # "call your mother", or nothing


def asks_for_one(request: Request) -> bool:
    wish = wish_of(request)
    return wish is not None and (wish.when is not None or wish.kind == "reminder")


@skill(
    "set a timer",
    "start a countdown",
    "set an alarm",
    "wake me up",
    "set a reminder",
    "remind me of something",
    recognises=asks_for_one,
)
def timer(request: Request) -> Answer | str | None:
    """Set it, or ask for what is missing; the answer to that question comes here again."""
    wish = wish_of(request)
    if wish is None:
        return None
    if wish.when is None or wish.when.delay_sec < 1:
        return ASK_WHEN if wish.kind == "reminder" else ASK_HOW_LONG
    if wish.when.delay_sec > LONGEST_SEC:
        return "I can only remember things for a day."
    return Answer(_promise(wish.kind, wish.when, wish.task), (_reminder(wish.kind, wish.when, wish.task),))


@skill("cancel the timer", "stop the alarm", "delete my reminder", "how much time is left on my timer")
def timer_change(_request: Request) -> str:
    return "I'm sorry, I can't change or read a timer once it is set."


def wish_of(request: Request) -> Wish | None:
    """What the user wants timed; the reply to a question of ours is read together with what led to it."""
    text = request.text
    if request.last_answer in (ASK_HOW_LONG, ASK_WHEN):
        text = f"{request.last_question} {text}"
    words = time_words(text)
    kind = next((_KINDS[word] for word in words if word in _KINDS), None)
    if kind is None or _CHANGES.intersection(words):
        return None
    when = _when(words, kind, request.now)
    return Wish(kind, when, _task(words, when, _names_in(text)) if kind == "reminder" else "")


def _when(words: Sequence[str], kind: str, now: datetime) -> When | None:
    duration = duration_in(words)
    moment = clock_time_in(words, ("at",) if kind == "reminder" else ("at", "for"))
    if moment and (duration is None or moment.end <= duration.start):
        due = moment.next_after(now)
        said = say_clock_time(due) + (" tomorrow" if due.date() > now.date() else "")
        return When(due.timestamp() - now.timestamp(), f"at {said}", moment.start, moment.end)
    if duration is None:
        return None
    lead = words[duration.start - 1 : duration.start] in (["in"], ["for"], ["after"])
    return When(duration.seconds, f"in {say_duration(duration.seconds)}", duration.start - lead, duration.end)


def _names_in(text: str) -> dict[str, str]:
    """Words written with a capital inside the sentence, by their lower-case form."""
    return {word.lower(): word for word in _NAME.findall(text)}


def _task(words: Sequence[str], when: When | None, names: dict[str, str]) -> str:
    kept = [*words[: when.start], *words[when.end :]] if when else words
    found = _TASK.search(" ".join(word for word in kept if word not in ("tomorrow", "tonight")))
    task = _TASK_FRAME.sub("", found[1].strip()) if found else ""
    return " ".join(_SECOND_PERSON.get(word) or names.get(word, word) for word in task.split())


def _promise(kind: str, when: When, task: str) -> str:
    if kind == "reminder":
        return f"OK, I'll remind you {when.words}{f': {task}' if task else ''}."
    if kind == "alarm":
        return f"Your alarm will ring {when.words}."
    return f"Your timer is set {_lasting(when)}."


def _reminder(kind: str, when: When, task: str) -> Reminder:
    texts = {
        "timer": f"Your timer {_lasting(when)} is up.",
        "alarm": "Good day! This is your alarm.",
        "reminder": f"Here is your reminder: {task}." if task else "Here is your reminder.",
    }
    return Reminder(when.delay_sec, texts[kind])


def _lasting(when: When) -> str:
    return f"for {when.words.removeprefix('in ').removeprefix('at ')}"
