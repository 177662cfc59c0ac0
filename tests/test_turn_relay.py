"""A turn that moves from replica to replica: the caller hears each word and each sample once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

from deployments.relay_trace import RelayTrace
from deployments.turn_ledger import TurnLedger
from deployments.turn_relay import Place, TurnRelay
from routing.errors import BackendUnavailable
from routing.telemetry.spans import Spans
from routing.turns import REPLY_SAMPLE_RATE, SPEECH_SAMPLE_RATE, AudioChunk, Heard, ReplyEnd, Samples, TextDelta, Turn
from routing.wire import Ask, Commit, Message, Open, Refused, RollBack, Speech, Told, Welcome, decode, encode
from tests.virtual_time import on_virtual_time

SPEECH = Speech(AudioChunk(np.zeros(1600, np.float32), SPEECH_SAMPLE_RATE))
SOUND: Samples = np.arange(2400, dtype=np.float32) / np.float32(32768)
ANSWER = [
    Told(1, Heard("hello there", is_final=True)),
    Told(1, TextDelta("Good morning.")),
    Told(1, AudioChunk(SOUND[:1000], REPLY_SAMPLE_RATE)),
    Told(1, AudioChunk(SOUND[1000:], REPLY_SAMPLE_RATE)),
    Told(1, ReplyEnd()),
]
CUT_OTHERWISE = [
    ANSWER[0],
    Told(1, TextDelta("Good ")),
    Told(1, TextDelta("morning.")),
    Told(1, AudioChunk(SOUND[:1500], REPLY_SAMPLE_RATE)),
    Told(1, AudioChunk(SOUND[1500:], REPLY_SAMPLE_RATE)),
    ANSWER[-1],
]
FULL = Refused(0, "at_capacity", "all places are taken", 2.5)


@dataclass(slots=True)
class ScriptedPlace:
    """Welcomes, waits for a message of the kind ``until``, tells its lines, and dies if it shall."""

    replica: str
    lines: Sequence[Message] = ()
    dies: bool = False
    welcomes: bool = True
    until: type[Message] = Commit
    listens: bool = True
    received: list[Message] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    left: bool = False
    _due: asyncio.Event = field(default_factory=asyncio.Event)

    async def converse(self, opening: bytes) -> AsyncGenerator[list[bytes]]:
        self.begun.set()
        try:
            if self.welcomes:
                yield [encode(Welcome(self.replica))]
                await self._due.wait()
            elif not self.lines and not self.dies:
                await asyncio.Event().wait()
            for line in self.lines:
                yield [encode(line)]
            if self.dies:
                raise BackendUnavailable(f"the replica {self.replica} is gone")
        finally:
            self.left = True

    async def send(self, messages: list[bytes]) -> None:
        if not self.listens:
            raise BackendUnavailable(f"the replica {self.replica} does not listen")
        self.received += map(decode, messages)
        if any(isinstance(message, self.until) for message in self.received):
            self._due.set()


@dataclass(slots=True)
class ScriptedPlaces:
    """In the order in which they are given; the last one is all there is where others are to be avoided."""

    places: Sequence[ScriptedPlace]
    asked: int = 0

    @asynccontextmanager
    async def reserve(self, session_id: str, *, avoid: frozenset[str]) -> AsyncIterator[Place]:
        self.asked += 1
        if not self.places:
            raise BackendUnavailable("no replica has a place: TimeoutError")
        yield next((place for place in self.places if place.replica not in avoid), self.places[-1])


@dataclass(slots=True)
class Caller:
    """Speaks, and notes what it hears."""

    relay: TurnRelay
    heard: list[Message]

    def say(self, *messages: Message) -> None:
        for message in messages:
            self.relay.say(message, encode(message))

    @property
    def words(self) -> str:
        return "".join(it.event.text for it in self.heard if isinstance(it, Told) and isinstance(it.event, TextDelta))

    @property
    def sound(self) -> list[float]:
        chunks = [it.event for it in self.heard if isinstance(it, Told) and isinstance(it.event, AudioChunk)]
        return [float(value) for chunk in chunks for value in chunk.samples]

    @property
    def rest(self) -> list[Message]:
        """Neither words nor sound."""
        return [it for it in self.heard if not (isinstance(it, Told) and isinstance(it.event, TextDelta | AudioChunk))]


def caller_of(*places: ScriptedPlace, tries: int = 3, while_told: Callable[[Message], None] = lambda _: None) -> Caller:
    heard: list[Message] = []

    async def send(data: bytes) -> None:
        heard.append(decode(data))
        while_told(heard[-1])

    turn = Turn(session_id="s", turn_id="t", index=0)
    ledger, trace = TurnLedger(Open(turn)), RelayTrace(Spans.silent(), turn, parent={}, now=0.0)
    relay = TurnRelay(ledger, ScriptedPlaces(places), trace=trace, tries=tries, welcome_sec=2.0, send=send)
    return Caller(relay, heard)


def assert_told_once(caller: Caller) -> None:
    assert caller.words == "Good morning."
    assert caller.sound == [float(value) for value in SOUND]
    told = [type(it.event) for it in caller.rest if isinstance(it, Told)]
    assert told == [Heard, ReplyEnd]


async def test_one_replica_answers() -> None:
    place = ScriptedPlace("a", ANSWER)
    caller = caller_of(place)
    caller.say(SPEECH, Ask(1), Commit(1))
    await caller.relay.run()
    assert_told_once(caller)
    assert [type(message) for message in place.received] == [Speech, Ask, Commit]
    assert place.left


@on_virtual_time
async def test_a_replica_that_does_not_welcome_is_given_up() -> None:
    silent, other = ScriptedPlace("a", welcomes=False), ScriptedPlace("b", ANSWER)
    caller = caller_of(silent, other)
    caller.say(SPEECH, Ask(1), Commit(1))
    await caller.relay.run()
    assert asyncio.get_running_loop().time() == 2.0
    assert silent.left
    assert_told_once(caller)


async def test_a_replica_that_dies_before_it_welcomes_is_not_noticed() -> None:
    caller = caller_of(ScriptedPlace("a", dies=True, welcomes=False), ScriptedPlace("b", ANSWER))
    caller.say(SPEECH, Ask(1), Commit(1))
    await caller.relay.run()
    assert_told_once(caller)
    assert [it.replica for it in caller.heard if isinstance(it, Welcome)] == ["b"]


async def test_another_replica_goes_on_after_the_first_sound() -> None:
    for told in range(len(ANSWER)):
        first, second = ScriptedPlace("a", ANSWER[:told], dies=True), ScriptedPlace("b", CUT_OTHERWISE)
        caller = caller_of(first, second)
        caller.say(SPEECH, Ask(1), Commit(1))
        await caller.relay.run()
        assert_told_once(caller)
        assert [type(message) for message in second.received] == [Speech, Ask, Commit]


async def test_three_replicas_tell_one_answer() -> None:
    places = [
        ScriptedPlace("a", ANSWER[:3], dies=True),
        ScriptedPlace("b", CUT_OTHERWISE[:4], dies=True),
        ScriptedPlace("c", ANSWER),
    ]
    caller = caller_of(*places)
    caller.say(SPEECH, Ask(1), Commit(1))
    await caller.relay.run()
    assert_told_once(caller)


async def test_nobody_is_asked_for_an_answer_that_was_told_to_its_end() -> None:
    second = ScriptedPlace("b", ANSWER)
    caller = caller_of(ScriptedPlace("a", ANSWER, dies=True), second)
    caller.say(SPEECH, Ask(1), Commit(1))
    await caller.relay.run()
    assert_told_once(caller)
    assert not second.begun.is_set()


async def test_a_commit_on_the_way_from_one_replica_to_the_next_is_not_lost() -> None:
    first = ScriptedPlace("a", ANSWER[:3], dies=True, until=Ask)
    second = ScriptedPlace("b", ANSWER)

    def commit(told: Message) -> None:
        if isinstance(told, Welcome) and told.replica == "b":
            caller.say(Commit(1))

    caller = caller_of(first, second, while_told=commit)
    caller.say(SPEECH, Ask(1))
    await caller.relay.run()
    assert [type(message) for message in second.received] == [Speech, Ask, Commit]
    assert_told_once(caller)


async def test_another_attempt_on_the_way_is_answered_whole() -> None:
    answer = [Told(2, it.event) for it in ANSWER]
    first, second = ScriptedPlace("a", ANSWER[:3], dies=True, until=Ask), ScriptedPlace("b", answer)

    def go_on_speaking(told: Message) -> None:
        if isinstance(told, Welcome) and told.replica == "b":
            caller.heard.clear()
            caller.say(RollBack(1), SPEECH, Ask(2), Commit(2))

    caller = caller_of(first, second, while_told=go_on_speaking)
    caller.say(SPEECH, Ask(1))
    await caller.relay.run()
    assert_told_once(caller)


async def test_a_replica_that_does_not_listen_is_left_though_it_speaks() -> None:
    deaf = ScriptedPlace("a", listens=False)
    caller = caller_of(deaf, ScriptedPlace("b", ANSWER))
    caller.say(SPEECH, Ask(1), Commit(1))
    await caller.relay.run()
    assert_told_once(caller)
    assert deaf.left


async def test_a_full_replica_sends_on_to_the_next() -> None:
    caller = caller_of(ScriptedPlace("a", [FULL], welcomes=False), ScriptedPlace("b", ANSWER))
    caller.say(SPEECH, Ask(1), Commit(1))
    await caller.relay.run()
    assert_told_once(caller)


async def test_where_all_are_full_the_caller_is_told_when_to_come_back() -> None:
    places = [ScriptedPlace(name, [FULL], welcomes=False) for name in "ab"]
    caller = caller_of(*places)
    await caller.relay.run()
    assert caller.heard == [FULL]


async def test_where_one_is_full_and_the_others_die_too() -> None:
    caller = caller_of(
        ScriptedPlace("a", [FULL], welcomes=False), ScriptedPlace("b", dies=True, welcomes=False), tries=2
    )
    await caller.relay.run()
    assert caller.heard == [FULL]


async def test_without_any_replica_the_caller_is_told_after_a_few_tries() -> None:
    caller = caller_of()
    await caller.relay.run()
    assert caller.heard == [Refused(0, "unavailable", "no replica has a place: TimeoutError")]


async def test_an_answer_that_failed_is_not_asked_for_elsewhere() -> None:
    failed = Refused(1, "failed", "the model is at a loss")
    second = ScriptedPlace("b", ANSWER)
    caller = caller_of(ScriptedPlace("a", [failed]), second)
    caller.say(SPEECH, Ask(1), Commit(1))
    await caller.relay.run()
    assert caller.rest[1:] == [failed]
    assert not second.begun.is_set()


async def test_a_refusal_of_what_was_rolled_back_moves_nobody() -> None:
    late = Refused(1, "at_capacity", "all 4 slots are in use", 0.5)
    second = ScriptedPlace("b")
    caller = caller_of(ScriptedPlace("a", [late, *(Told(2, it.event) for it in ANSWER)]), second)
    caller.say(SPEECH, Ask(1), RollBack(1), Ask(2), Commit(2))
    await caller.relay.run()
    assert caller.words == "Good morning."
    assert not second.begun.is_set()


async def test_hanging_up_leaves_the_replica() -> None:
    place = ScriptedPlace("a", ANSWER)
    caller = caller_of(place)
    running = asyncio.create_task(caller.relay.run())
    await place.begun.wait()
    running.cancel()
    await asyncio.wait([running])
    assert place.left
