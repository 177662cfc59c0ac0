"""A reply's events come out in order, and an error only after what was made before it."""

from __future__ import annotations

import asyncio

import pytest

from deployments.engine.reply_stream import ReplyStream
from routing.errors import BackendError
from routing.turns import ReplyEnd, TextDelta


async def test_events_come_as_they_are_fed_and_end_with_the_reply() -> None:
    stream = ReplyStream()
    reader = asyncio.create_task(read(stream))
    await asyncio.sleep(0)
    stream.feed([TextDelta("a"), TextDelta("b")])
    await asyncio.sleep(0)
    stream.feed([ReplyEnd()])
    stream.fail(BackendError("too late to matter"))
    assert await reader == [TextDelta("a"), TextDelta("b"), ReplyEnd()]


async def test_an_error_comes_after_what_was_made_before_it_and_the_first_one_counts() -> None:
    stream = ReplyStream()
    stream.feed([TextDelta("a")])
    stream.fail(BackendError("first"))
    stream.fail(BackendError("second"))
    events = stream.events()
    assert await anext(events) == TextDelta("a")
    with pytest.raises(BackendError, match="first"):
        await anext(events)


async def read(stream: ReplyStream) -> list[object]:
    return [event async for event in stream.events()]
