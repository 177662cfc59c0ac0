"""What a sequence says of itself: how far its prompt is, where its next position goes, how much sound is left."""

from __future__ import annotations

import pytest

from deployments.engine.sequence import Modality, Pace, PrefillChunk, Sequence, StepPlan

FRAME_SEC = 0.08


def sequence() -> Sequence:
    return Sequence(
        key=1,
        slot=3,
        prompt_positions=60,
        speech_sec=4.0,
        maximum_steps=100,
        arrived_at=10.0,
        context_positions=200,
    )


def test_a_reply_goes_from_speech_to_prompt_to_sound() -> None:
    reply = sequence()
    assert (reply.has_speech_left, reply.has_prompt_left, reply.is_first) == (True, True, True)
    reply.encoded, reply.prefilled, reply.steps = True, 60, 1
    assert (reply.has_speech_left, reply.has_prompt_left, reply.is_first) == (False, False, True)
    reply.steps, reply.frames, reply.modality = 7, 1, Modality.AUDIO
    assert not reply.is_first


def test_a_typed_turn_has_no_speech_to_encode() -> None:
    reply = sequence()
    reply.speech_sec = 0.0
    assert not reply.has_speech_left


def test_positions_count_what_was_fed_back_and_not_what_was_only_sampled() -> None:
    reply = sequence()
    assert reply.positions == 200
    reply.prefilled, reply.steps = 60, 1  # the prompt gave the first token, which is still to be fed
    assert reply.positions == 260
    reply.steps = 5
    assert reply.positions == 264


def test_sound_is_buffered_until_it_is_played() -> None:
    reply = sequence()
    reply.frames = 10
    assert reply.buffered_sec(99.0, FRAME_SEC) == pytest.approx(0.8)  # held: nothing is played
    reply.playing_since = 20.0
    assert reply.buffered_sec(20.3, FRAME_SEC) == pytest.approx(0.5)
    assert reply.buffered_sec(21.0, FRAME_SEC) == pytest.approx(-0.2)


def test_a_chunk_knows_whether_the_prompt_ends_with_it() -> None:
    reply = sequence()
    assert not PrefillChunk(reply, 0, 32).is_last
    assert PrefillChunk(reply, 32, 28).is_last


def test_an_empty_plan_is_false() -> None:
    reply = sequence()
    assert not StepPlan()
    assert StepPlan(encode=(reply,))
    assert StepPlan(prefill=(PrefillChunk(reply, 0, 16),))
    assert StepPlan(decode=(reply,))


def test_a_pace_tells_the_steps_of_a_stretch_of_sound() -> None:
    pace = Pace(FRAME_SEC, text_run=6, audio_run=12)
    assert pace.steps_in(0.96) == 18
    assert pace.steps_in(9.6) == 180
