"""A conversation through a scripted sound device; the session is real."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from rich.text import Text

from edge_client.caller.loudness import audible_spans
from edge_client.soundcard import SOUNDCARD_RATE
from edge_client.talk import converse
from routing.turns import Samples
from tests.edge import running_edge
from tests.fake_stream import FakeStream
from tests.scripted import ScriptedBackend, say, tone


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * SOUNDCARD_RATE), np.float32)


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_what_is_said_into_the_microphone_is_answered_by_the_loudspeaker(
    nothing_left_behind: None,
) -> None:
    backend = ScriptedBackend(say("noon it is", seconds=0.5, heard="what time is it"))
    stream, lines = FakeStream(), list[str]()
    async with running_edge(backend) as running:
        talking = asyncio.create_task(converse(running.edge, stream, echo=False, print_line=lines.append))
        await stream.record(np.concatenate((silence(0.3), tone(0.5))))
        async with asyncio.timeout(15):
            while len(lines) < 3:
                await stream.record(silence(0.1))
        await stream.record(silence(0.7))  # the last words may still be on their way to the loudspeaker
        assert running.edge.sessions == 1
        talking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await talking
        assert running.edge.sessions == 0
    (reply,) = audible_spans(stream.sound, SOUNDCARD_RATE)
    assert (reply.end - reply.begin) / SOUNDCARD_RATE == pytest.approx(0.5, abs=0.01)
    assert reply.begin / SOUNDCARD_RATE > 0.8
    shown = [Text.from_markup(line).plain.strip() for line in lines]
    assert shown[:2] == ["you  what time is it", "antiphon  noon it is"]
    assert shown[2].startswith("endpoint wait ")
