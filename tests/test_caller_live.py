"""A person who speaks freely, over real WebRTC: their speech is found by its loudness."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from edge_client.caller.client import Caller
from edge_client.caller.live import LONGEST_BUFFER_SEC, LiveSound, converse
from edge_client.caller.loudness import WINDOW_SEC
from edge_client.caller.measure import Interval, spoken
from edge_client.caller.recorder import Arrival
from edge_client.caller.report import TurnReport
from edge_client.soundcard import SOUNDCARD_RATE, Soundcard
from routing.turns import AudioChunk, Samples
from tests.edge import running_edge
from tests.fake_stream import FakeStream, blocks
from tests.scripted import ScriptedBackend, say, tone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]  # real peers, in real time


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * SOUNDCARD_RATE), np.float32)


def arriving(*parts: Samples) -> Sequence[Arrival]:
    whole = np.concatenate(parts)
    return [Arrival(number * 0.02, AudioChunk(block, SOUNDCARD_RATE)) for number, block in enumerate(blocks(whole))]


def test_the_speech_before_the_reply_is_the_one_it_answers() -> None:
    said = arriving(silence(0.5), tone(0.3), silence(0.4), tone(0.3), silence(2), tone(0.5))
    heard = arriving(silence(2), tone(0.5), silence(2))
    assert spoken(said, heard) == pytest.approx(Interval(0.5, 1.5), abs=WINDOW_SEC)


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (arriving(silence(1), tone(0.5)), arriving(tone(0.5))),  # said unasked
        (arriving(tone(0.5)), arriving(silence(2))),
        ([], arriving(tone(0.5))),
    ],
)
def test_without_question_and_answer_there_is_no_turn(said: Sequence[Arrival], heard: Sequence[Arrival]) -> None:
    assert spoken(said, heard) is None


async def test_two_clocks_do_not_build_up_delay() -> None:
    sound = LiveSound()
    for _ in range(100):
        sound.hear(tone(0.02))
    read = sound.call_side.read(SOUNDCARD_RATE)
    assert np.count_nonzero(read) / SOUNDCARD_RATE <= LONGEST_BUFFER_SEC + 0.02


async def test_a_free_speaker_is_answered_and_measured() -> None:
    backend = ScriptedBackend(say("noon", seconds=0.4, heard="what time is it"))
    reports: list[TurnReport] = []
    sound, stream = LiveSound(), FakeStream()
    card = Soundcard(hear=sound.hear, read=sound.read)
    async with (
        running_edge(backend) as edge,
        Caller.connect(edge.url, sound=sound.call_side) as call,
        card.running(stream, echo=False),
    ):
        talking = asyncio.create_task(converse(call, sound, reports.append))
        await stream.record(np.concatenate((silence(0.3), tone(0.5))))
        async with asyncio.timeout(15):
            while not reports:
                await stream.record(silence(0.1))
        talking.cancel()
    (report,) = reports
    assert (report.transcript, report.answer) == ("what time is it", "noon")
    assert report.v2v_ms is not None
    assert report.endpoint_wait_ms is not None
    assert report.v2v_ms > report.endpoint_wait_ms
    assert np.abs(stream.sound).max() > 0.1
