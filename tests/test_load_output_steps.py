"""The pace of a reply as the caller sees it."""

from __future__ import annotations

import pytest

from edge_client.load.output_steps import OutputSteps

SOUND, WORDS = {"type": "response.output_audio.delta"}, {"type": "response.output_audio_transcript.delta"}
STOPPED = {"type": "input_audio_buffer.speech_stopped"}


def fed(*events: tuple[float, dict[str, str]]) -> OutputSteps:
    steps = OutputSteps()
    for at, event in events:
        steps.feed(event, at)
    return steps


def test_time_per_output_step_is_that_between_the_first_and_the_last() -> None:
    steps = fed((1.0, WORDS), (1.0, SOUND), (1.08, SOUND), (1.3, SOUND), (1.9, WORDS))
    assert steps.count == 3
    assert steps.tpot_sec == pytest.approx(0.15)


def test_words_count_where_sound_comes_another_way() -> None:
    steps = fed((1.0, WORDS), (1.2, {"type": "response.output_text.delta"}), (1.3, {"type": "rate_limits.updated"}))
    assert steps.count == 2
    assert steps.tpot_sec == pytest.approx(0.2)


def test_one_step_has_no_time_after_the_first() -> None:
    assert fed((1.0, SOUND)).tpot_sec is None
    assert fed().tpot_sec is None


def test_first_audio_is_counted_from_the_last_time_that_the_server_said_the_user_had_stopped() -> None:
    steps = fed((1.0, STOPPED), (1.5, STOPPED), (2.5, STOPPED))
    assert steps.ttfa_sec(1.7) == pytest.approx(0.2)
    assert steps.ttfa_sec(0.9) is None
    assert steps.ttfa_sec(None) is None
