"""The tone backend: heard at once, and an answer to every turn though no word of it is understood."""

from __future__ import annotations

from contextlib import aclosing

import numpy as np
import pytest

from edge_client.caller.client import Caller
from edge_client.caller.loudness import AUDIBLE_RMS, CLICK_SEC, audible_spans
from edge_client.tone import TONE_SEC, TONE_WORDS, ToneBackend, tone
from routing.turns import REPLY_SAMPLE_RATE, AudioChunk, ReplyEnd, ReplyEvent, TextDelta, Turn
from tests.edge import running_edge
from tests.scripted import tone as voice

MILLISECOND = REPLY_SAMPLE_RATE // 1000


def test_the_tone_is_audible_at_once_and_has_soft_edges() -> None:
    (span,) = audible_spans(tone(), REPLY_SAMPLE_RATE)
    assert (span.begin, span.end) == (0, round(TONE_SEC * REPLY_SAMPLE_RATE))
    for edge in (tone()[:MILLISECOND], tone()[-MILLISECOND:]):
        assert AUDIBLE_RMS < np.sqrt(np.mean(edge**2)) < 0.1
    assert np.abs(np.diff(tone(), prepend=0, append=0)).max() < 0.1
    assert CLICK_SEC < TONE_SEC


async def told(turn: Turn) -> list[ReplyEvent]:
    async with ToneBackend().open(turn, on_heard=lambda heard: None) as exchange, aclosing(exchange.reply()) as events:
        return [event async for event in events]


async def test_a_reply_in_sound_and_in_text() -> None:
    words, sound, end = await told(Turn(session_id="s", turn_id="t", index=0))
    assert words == TextDelta(TONE_WORDS)
    assert isinstance(sound, AudioChunk)
    assert sound.duration_sec == TONE_SEC
    assert end == ReplyEnd()
    written = await told(Turn(session_id="s", turn_id="t", index=0, modality="text"))
    assert written == [TextDelta(TONE_WORDS), ReplyEnd()]


@pytest.mark.slow
async def test_turns_without_words_are_answered_one_after_the_other(nothing_left_behind: None) -> None:
    async with running_edge(ToneBackend()) as edge, Caller.connect(edge.url) as call:
        for _ in range(2):
            await call.say(np.concatenate((voice(0.5), np.zeros(2400, np.float32))))
            reply = await call.reply()
            assert (reply.transcript, reply.answer, reply.errors) == ("", TONE_WORDS, ())
            assert reply.latency.v2v_sec is not None
            assert reply.sound is not None
            assert reply.latency.reply_sec > TONE_SEC - 0.1  # and longer where the sender was held up in the middle
