"""The conversations that every client must be able to hold, and what must have come of them."""

from __future__ import annotations

import asyncio
import calendar
import json
import re
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from routing.turns import (
    REPLY_SAMPLE_RATE,
    AudioChunk,
    Heard,
    ReplyEnd,
    ReplyEvent,
    Samples,
    TextDelta,
    Turn,
)
from tests.diary import Diary
from tests.schema import faults_in_python
from tests.scripted import tone

LISTENING_SEC = 1.5  # how much of an answer is heard before it is cut short


@dataclass(frozen=True, slots=True)
class Line:
    """Something the user says. When it is ``cut_short``, the next line falls into the answer to this one."""

    text: str
    cut_short: bool = False


SUM = "What is twelve times seven?"
ABILITIES = "What can you do?"  # the answer takes about eight seconds

WEATHER_REPORT = "It is sunny in Paris, with twenty three degrees."
WEATHER_TOOL: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "The name of the city."}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


@dataclass(frozen=True, slots=True)
class Conversation:
    """What is said, and what must be found in the diary of whoever said it."""

    lines: tuple[Line, ...]
    expect: Callable[[Diary], None]

    def check(self, diary: Diary) -> None:
        expect_order(diary)
        expect_heard(diary, self.lines)
        self.expect(diary)


def expect_two_answers(diary: Diary) -> None:
    first, second = diary.answers()
    assert mentions(first, "84", "eighty four"), first
    assert mentions(second, *calendar.day_name), second


def expect_weather(diary: Diary) -> None:
    (call,) = diary.calls()
    assert call["name"] == "get_weather"
    assert json.loads(call["arguments"]) == {"city": "Paris"}
    assert mentions(diary.answers()[-1], "sunny"), diary.answers()


def expect_cut(diary: Diary) -> None:
    """The first answer was cut where the user began to speak, and the second question answered."""
    (truncated,) = diary.of("conversation.item.truncated")
    item_id = truncated["item_id"]
    first = diary.of("response.created")[0]["response"]["id"]
    assert item_id in items_of(diary, first)
    assert diary.told(item_id).startswith(diary.kept(item_id))
    assert 0 < len(diary.kept(item_id)) < len(diary.told(item_id))
    assert mentions(diary.answers()[-1], "84", "eighty four"), diary.answers()


def expect_abandoned_work(diary: Diary) -> None:
    """The first answer was not even complete when it was cut."""
    expect_cut(diary)
    abandoned = diary.of("response.done")[0]["response"]
    assert abandoned["status"] == "cancelled"
    assert abandoned["status_details"] == {"type": "cancelled", "reason": "turn_detected"}


async def answer_slowly(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
    """A script for `ABANDONED_WORK`: the first answer takes as long to make as to say, and never ends."""
    question, answer = (SUM, "That is 84.") if turn.history else (ABILITIES, "I can count. ")
    yield Heard(question, is_final=True, end_of_sentence=1.0)
    yield TextDelta(answer)
    yield AudioChunk(tone(1.0), REPLY_SAMPLE_RATE)
    while not turn.history:
        await asyncio.sleep(1.0)
        yield TextDelta("One, two, three. ")
        yield AudioChunk(tone(1.0), REPLY_SAMPLE_RATE)
    yield ReplyEnd()


def expect_order(diary: Diary) -> None:
    """Nothing went wrong, and what was begun was ended."""
    assert diary.of("error") == []
    assert faults_in_python(diary.events) == []
    assert diary.unfinished() == set()
    assert diary.of("response.done")[-1]["response"]["status"] == "completed"


def expect_heard(diary: Diary, lines: tuple[Line, ...]) -> None:
    """Each line was one turn, and understood but for spellings such as "12" for "twelve"."""
    heard = diary.heard()
    assert len(heard) == len(lines), heard
    for line, text in zip(lines, heard, strict=True):
        assert SequenceMatcher(a=plain(line.text), b=plain(text)).ratio() > 0.6, (line.text, text)


def items_of(diary: Diary, response_id: str) -> Iterable[str]:
    added = diary.of("response.output_item.added")
    return [event["item"]["id"] for event in added if event["response_id"] == response_id]


def mentions(text: str, *candidates: str) -> bool:
    return any(plain(candidate) in plain(text) for candidate in candidates)


def plain(text: str) -> str:
    """Only the words, in small letters."""
    return re.sub(r"[\W_]+", " ", text.lower()).strip()


TWO_TURNS = Conversation((Line(SUM), Line("What day is it today?")), expect_two_answers)
TOOL_CALL = Conversation((Line("What is the weather in Paris?"),), expect_weather)
BARGE_IN = Conversation((Line(ABILITIES, cut_short=True), Line(SUM)), expect_cut)
CONVERSATIONS = {"two turns": TWO_TURNS, "tool call": TOOL_CALL, "barge-in": BARGE_IN}

# To be held with an edge whose backend follows `answer_slowly`.
ABANDONED_WORK = Conversation(BARGE_IN.lines, expect_abandoned_work)
