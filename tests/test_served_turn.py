"""A turn at a replica: what comes in as messages is answered in messages, and whatever breaks ends this turn only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import numpy as np
import pytest

from deployments.served_turn import ServedTurn
from routing.errors import AtCapacity, BackendError, BackendUnavailable
from routing.telemetry.logs import JsonLines
from routing.turns import (
    SPEECH_SAMPLE_RATE,
    AudioChunk,
    Backend,
    Exchange,
    Heard,
    ReplyEnd,
    ReplyEvent,
    Samples,
    TextDelta,
    Turn,
)
from routing.wire import Ask, Commit, Message, Refused, RollBack, Speech, Told, decode
from tests.scripted import ScriptedBackend, ScriptedExchange, say

TURN = Turn(session_id="s", turn_id="t", index=0)
SPEECH = Speech(AudioChunk(np.zeros(1600, np.float32), SPEECH_SAMPLE_RATE))


def served(backend: Backend, errors: list[Exception] | None = None) -> ServedTurn:
    return ServedTurn(TURN, backend, on_error=(errors if errors is not None else []).append)


async def told_by(turn: ServedTurn) -> list[Message]:
    return [decode(data) async for messages in turn.told() for data in messages]


def events(told: list[Message], attempt: int = 1) -> list[ReplyEvent]:
    return [message.event for message in told if isinstance(message, Told) and message.attempt == attempt]


async def test_all_of_a_turn_may_come_at_once() -> None:
    backend = ScriptedBackend(say("hello", seconds=0.2))
    turn = served(backend)
    turn.take([SPEECH, Ask(1), Commit(1)])
    first, words, _, end = events(await told_by(turn))
    assert (first, words) == (Heard("hello there", is_final=True, end_of_sentence=1.0), TextDelta("hello"))
    assert isinstance(end, ReplyEnd)
    (exchange,) = backend.exchanges
    assert (exchange.begun, exchange.rolled_back, exchange.committed, exchange.closed) == (1, 0, True, True)


async def test_an_attempt_answers_what_was_fed_before_it_and_nothing_that_came_with_it() -> None:
    async def counting(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        yield TextDelta(f"{len(audio)} samples")
        yield ReplyEnd()

    turn = served(ScriptedBackend(counting))
    turn.take([SPEECH, Ask(1), SPEECH, Commit(1)])
    assert events(await told_by(turn))[0] == TextDelta("1600 samples")


async def test_what_was_rolled_back_is_asked_for_again() -> None:
    async def thoughtful(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        await asyncio.sleep(0)
        yield TextDelta(f"{len(audio)} samples")
        yield ReplyEnd()

    backend = ScriptedBackend(thoughtful)
    turn = served(backend)
    turn.take([SPEECH, Ask(1), RollBack(1), SPEECH, Ask(2), Commit(2)])
    told = await told_by(turn)
    assert (events(told), events(told, 2)) == ([], [TextDelta("3200 samples"), ReplyEnd()])
    assert backend.exchanges[0].rolled_back == 1


async def test_a_backend_that_does_not_open_is_told_at_once() -> None:
    class Broken:
        name = "broken"
        is_open = False

        @asynccontextmanager
        async def open(self, turn: Turn, *, on_heard: Callable[[Heard], None]) -> AsyncIterator[Exchange]:
            if not self.is_open:
                raise BackendUnavailable("it is going away")
            yield ScriptedExchange(turn, say("hello"), on_heard, [])

    noted: list[Exception] = []
    assert await told_by(served(Broken(), noted)) == [Refused(0, "unavailable", "it is going away")]
    assert [type(error) for error in noted] == [BackendUnavailable]


async def test_an_attempt_that_fails_may_be_followed_by_another() -> None:
    asked = 0

    async def full_at_first(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise AtCapacity("all 4 slots are in use", retry_after_sec=0.5)
        yield ReplyEnd()

    turn = served(ScriptedBackend(full_at_first))
    turn.take([SPEECH, Ask(1)])
    told: list[Message] = []
    async with aclosing(turn.told()) as telling:
        async for messages in telling:
            told += map(decode, messages)
            if len(told) == 1:
                turn.take([RollBack(1), Ask(2), Commit(2)])
    assert told == [Refused(1, "at_capacity", "all 4 slots are in use", 0.5), told[1]]
    assert events(told, 2) == [ReplyEnd()]


async def test_a_committed_attempt_that_failed_ends_the_turn() -> None:
    async def failing(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        if not turn.script:
            raise BackendError("the model is at a loss")
        yield ReplyEnd()

    turn = served(ScriptedBackend(failing))
    turn.take([SPEECH, Ask(1), Commit(1)])
    assert await told_by(turn) == [Refused(1, "failed", "the model is at a loss")]


async def test_hanging_up_rolls_back_what_is_being_said() -> None:
    async def endless(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        while True:
            yield TextDelta("and ")
            await asyncio.sleep(0)

    backend = ScriptedBackend(endless)
    turn = served(backend)
    turn.take([SPEECH, Ask(1), Commit(1)])
    async with aclosing(turn.told()) as telling:
        await anext(telling)
    (exchange,) = backend.exchanges
    assert (exchange.rolled_back, exchange.closed) == (1, True)


async def test_what_is_logged_while_a_turn_is_served_says_which_turn(caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.setFormatter(JsonLines())

    async def talkative(turn: Turn, audio: Samples) -> AsyncGenerator[ReplyEvent]:
        logging.getLogger("model").warning("slow")
        yield ReplyEnd()

    turn = served(ScriptedBackend(talkative))
    turn.take([SPEECH, Ask(1), Commit(1)])
    await told_by(turn)
    assert '"turn_id": "t", "session_id": "s"' in caplog.text
