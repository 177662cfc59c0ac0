"""A reply may tell so much and no more, whoever gives it."""

from __future__ import annotations

import numpy as np
import pytest

from routing.allowance import MAXIMUM_DEEDS, MAXIMUM_EVENTS, Allowance
from routing.errors import BackendError
from routing.turns import AudioChunk, Heard, Reminder, ReplyEnd, ReplyEvent, TextDelta, Tool, ToolCall, Turn

TURN = Turn(session_id="sess_1", turn_id="turn_1", index=0, tools=(Tool("weather", "", {}),))


def sound(seconds: float) -> AudioChunk:
    return AudioChunk(np.zeros(round(seconds * 24_000), np.float32), 24_000)


def test_a_long_answer_is_within_it() -> None:
    allowance = Allowance(TURN)
    allowance.spend(Heard("tell me all about it", is_final=True))
    for _ in range(1000):
        allowance.spend(TextDelta("And then the "))
        allowance.spend(sound(1.0))
    allowance.spend(ToolCall("call_1", "weather", "{}"))
    allowance.spend(ReplyEnd({"prefill": 12.5}))


@pytest.mark.parametrize(
    ("event", "count", "words"),
    [
        (TextDelta("well, " * 100_000), 1, "characters"),
        (TextDelta("well, "), 3334, "characters"),
        (ReplyEnd({f"phase {number}": 1.0 for number in range(5000)}), 1, "characters"),
        (sound(0.0), MAXIMUM_EVENTS + 1, "events"),
        (sound(20.0), 91, "seconds of sound"),
        (Reminder(-1.0, "x"), MAXIMUM_DEEDS + 1, "reminders"),
        (ToolCall("call_1", "erase_everything", "{}"), 1, "one of the 1 tools offered"),
    ],
)
def test_what_no_honest_reply_tells_is_refused(event: ReplyEvent, count: int, words: str) -> None:
    allowance = Allowance(TURN)
    for _ in range(count - 1):
        allowance.spend(event)
    with pytest.raises(BackendError, match=words):
        allowance.spend(event)
