"""Events that are spoilt in every way: each is taken or refused in the protocol's words, soon, and nothing stays."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any, NamedTuple

import pytest

from edge_client.endpointer import EndpointerSettings
from edge_client.hearing import Hearing
from edge_client.models.thread import ModelThread
from edge_client.mouth import RemoteMouth
from edge_client.realtime.dialogue import Dialogue, Sound
from edge_client.realtime.session_config import SessionConfig
from edge_client.session import SessionParts, open_session
from edge_client.turn_trace import SessionTracing
from routing.router import Router
from routing.telemetry.program import Telemetry
from tests.conftest import resources, settled
from tests.memory import resident_bytes
from tests.mutations import EVENTS, spoilt_event
from tests.scripted import LoudnessDetector, ScriptedBackend, ScriptedJudge, say

type Json = dict[str, Any]

LONGEST_SEC = 1.0  # of the processor: by the clock, what else the machine does counts too
SETTLING_EVENTS = 4000
SESSION_EVENTS = 2000  # then the next session begins
GROWTH_BYTES = 24 * 2**20  # over 20,000 events: what an allocator keeps


class Outcome(NamedTuple):
    """How many server events of each type came, and the most processor time that any client event took."""

    told: Counter[str]
    longest_sec: float


@asynccontextmanager
async def conversing(told: Counter[str], sound: Sound) -> AsyncIterator[Dialogue]:
    """A dialogue about a session that is real but for its models."""

    def send(event: Json) -> None:
        json.dumps(event, allow_nan=False).encode()  # as it would leave
        told[event["type"]] += 1

    async def room() -> None:
        """The client reads at once."""

    config, taking = SessionConfig(), EndpointerSettings()
    dialogue = Dialogue(send=send, sound=sound, config=config, turn_taking=taking, now_ms=lambda: 0.0)
    with closing(ModelThread("loudness")) as thread:
        options = config.options(taking, "any")
        parts = SessionParts(
            backend=Router.over(ScriptedBackend(say("hello", seconds=0.2))),
            ears=Hearing(LoudnessDetector, thread, ScriptedJudge()).new_ears(options.endpointer),
            judge=ScriptedJudge(),
            mouth=RemoteMouth(room),
            emit=dialogue.emit,
            tracing=SessionTracing("sess_1", Telemetry.silent()),
        )
        async with open_session("sess_1", parts, options=options) as session:
            dialogue.start(session)
            yield dialogue


async def received(seeds: range, *, sound: Sound = "events") -> Outcome:
    """All of them in one session, which answers meanwhile."""
    told: Counter[str] = Counter()
    longest_sec = 0.0
    async with conversing(told, sound) as dialogue:
        for seed in seeds:
            text = spoilt_event(seed)
            began = time.thread_time()
            dialogue.receive(text)
            longest_sec = max(longest_sec, time.thread_time() - began)
            await asyncio.sleep(0)
    return Outcome(told, longest_sec)


async def test_every_event_of_the_list_is_one_that_is_known(nothing_left_behind: None) -> None:
    told: Counter[str] = Counter()
    async with conversing(told, "events") as dialogue:
        for event in EVENTS:
            dialogue.receive(json.dumps(event))
    assert told["session.updated"] == 3
    assert told["conversation.item.retrieved"] == 1


@pytest.mark.parametrize("sound", ["events", "rtp"])
async def test_spoilt_events_are_taken_or_refused(nothing_left_behind: None, sound: Sound) -> None:
    outcome = await received(range(600), sound=sound)
    assert outcome.told["error"] > 100
    assert outcome.told["session.updated"] > 10


@pytest.mark.hostile
@pytest.mark.timeout(280)
async def test_twenty_thousand_spoilt_events_leave_nothing_behind(
    nothing_left_behind: None, collector_of_the_edge: None, capsys: pytest.CaptureFixture[str]
) -> None:
    await received(range(SETTLING_EVENTS))
    gc.collect()
    memory, base = await resident_bytes(), resources()
    told: Counter[str] = Counter()
    longest_sec = 0.0
    for start in range(SETTLING_EVENTS, SETTLING_EVENTS + 20_000, SESSION_EVENTS):
        outcome = await received(range(start, start + SESSION_EVENTS))
        told += outcome.told
        longest_sec = max(longest_sec, outcome.longest_sec)
    left = await settled(lambda: resources().beyond(base))
    gc.collect()
    growth = await resident_bytes() - memory
    with capsys.disabled():
        print(  # noqa: T201 (a figure to be read)
            f"\n20,000 spoilt events: {told['error']} refused, the longest took {longest_sec * 1000:.0f} ms,"
            f" memory {memory / 2**20:.0f} MiB {growth / 2**20:+.1f}"
        )
    assert not any(left)
    assert longest_sec < LONGEST_SEC
    assert growth < GROWTH_BYTES
