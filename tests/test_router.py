"""The router is a backend that says where each turn went."""

from __future__ import annotations

from contextlib import aclosing

import numpy as np

from routing.router import Router
from routing.turns import AudioChunk, Placement, ReplyEnd, TextDelta, Turn
from tests.scripted import ScriptedBackend, say

TURN = Turn(session_id="sess_1", turn_id="turn_1", index=0, modality="text")


async def test_every_reply_begins_with_its_placement() -> None:
    backend = ScriptedBackend(say("hello"))
    async with Router.over(backend).open(TURN, on_heard=lambda _: None) as exchange:
        events = [event async for event in exchange.reply()]
    assert events == [Placement("scripted", "only backend"), TextDelta("hello"), ReplyEnd({"script": 0.0})]


async def test_what_is_fed_committed_and_closed_reaches_the_backend() -> None:
    backend = ScriptedBackend()
    chunk = AudioChunk(np.zeros(1280, np.float32), 16_000)
    async with Router.over(backend).open(TURN, on_heard=lambda _: None) as exchange:
        exchange.feed(chunk)
        exchange.commit()
        served = backend.exchanges[0]
        assert served.chunks == [chunk]
        assert served.committed
        assert not served.closed
    assert served.closed


async def test_closing_a_reply_early_closes_the_backends() -> None:
    backend = ScriptedBackend(say("hello", seconds=5))
    async with Router.over(backend).open(TURN, on_heard=lambda _: None) as exchange:
        async with aclosing(exchange.reply()) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    break
        assert backend.exchanges[0].rolled_back == 1
