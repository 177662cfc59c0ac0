"""What happened in a turn, as phases: each wait has a name, and together they are the whole wait."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.caller_report import CallerReport
from edge_client.turn_story import (
    Interruption,
    Judgement,
    Reception,
    TurnStory,
    caller_phases,
    edge_phases,
    voice_to_voice_sec,
)
from routing.telemetry.phase import Phase

STORY = TurnStory(
    opened=9.9,
    speech_end=11.0,
    decided=11.26,
    has_floor=11.2605,
    first_sound=11.262,
    first_audio=11.27,
    over=13.0,
    end_reason="semantic",
    pauses=2,
    resumes=1,
    judgements=[Judgement(10.5, 10.52, 0.25), Judgement(11.1, 11.12, 0.96)],
    text_score=0.9,
    reception_before=Reception(lost_packets=3, concealed_sec=0.06, delay_sec=0.0),
    reception_after=Reception(lost_packets=5, concealed_sec=0.1, delay_sec=0.012),
)
REPORT = CallerReport(
    turn_id="turn_1",
    speech_end=10.97,
    arrived=11.3,
    heard=11.34,
    jitter_buffer_sec=0.02,
    output_sec=0.03,
    concealed_sec=0.0,
    packets_lost=1,
    round_trip_sec=0.06,
)
CHAIN = ("network.uplink", "endpoint.wait", "floor.wait", "answer.wait", "codec.first_packet", "network.downlink")


def named(phases: list[Phase], name: str) -> Phase:
    (found,) = [phase for phase in phases if phase.name == name]
    return found


def test_the_waits_of_a_turn_follow_each_other_without_a_hole() -> None:
    phases = [*edge_phases(STORY), *caller_phases(STORY, REPORT)]
    chain = [named(phases, name) for name in (*CHAIN, "playout.first_audio")]
    assert all(before.end == after.begin for before, after in pairwise(chain))
    assert (chain[0].begin, chain[-1].end) == (REPORT.speech_end, REPORT.heard)
    assert voice_to_voice_sec(STORY, REPORT) == pytest.approx(sum(phase.duration_sec for phase in chain))


def test_the_decision_is_shown_with_every_signal_that_led_to_it() -> None:
    waited = named(list(edge_phases(STORY)), "endpoint.wait")
    assert waited.attributes == {
        "endpoint.reason": "semantic",
        "endpoint.pauses": 2,
        "endpoint.resumes": 1,
        "endpoint.score.sound": 0.96,
        "endpoint.score.text": 0.9,
    }
    assert [(child.name, child.begin, child.end) for child in waited.children] == [("endpoint.judge", 11.1, 11.12)]


def test_what_was_lost_on_the_way_is_counted_for_this_turn_alone() -> None:
    received = named(list(edge_phases(STORY)), "receive")
    assert received.attributes == {
        "webrtc.jitter_buffer.delay_ms": 12.0,
        "webrtc.concealed_ms": 40,
        "webrtc.packets_lost": 2,
    }


def test_what_another_connection_lost_is_not_compared() -> None:
    resumed = replace(STORY, reception_after=Reception(lost_packets=0))
    assert named(list(edge_phases(resumed)), "receive").attributes == {}


def test_of_a_turn_that_its_caller_ended_they_alone_know_how_long_they_were_silent() -> None:
    story = TurnStory(opened=9.0, decided=11.2, first_sound=11.3, first_audio=11.32, over=13.0)
    phases = [*edge_phases(story), *caller_phases(story, REPORT)]
    chain = ("endpoint.wait", "answer.wait", "codec.first_packet", "network.downlink", "playout.first_audio")
    waits = [named(phases, name) for name in chain]
    assert (waits[0].begin, waits[-1].end) == (REPORT.speech_end, REPORT.heard)
    assert all(before.end == after.begin for before, after in pairwise(waits))


def test_the_sound_kept_back_by_the_caller_is_part_of_their_playout() -> None:
    playout = named(list(caller_phases(STORY, REPORT)), "playout.first_audio")
    (buffered,) = playout.children
    assert (buffered.name, buffered.begin) == ("jitter_buffer", 11.3)
    assert buffered.end == pytest.approx(11.32)


def test_without_an_arrival_the_way_is_what_the_buffer_leaves() -> None:
    report = CallerReport(turn_id="turn_1", heard=11.34, jitter_buffer_sec=0.02)
    (way, playout) = caller_phases(STORY, report)
    assert way.name == "network.downlink"
    assert way.end == pytest.approx(11.32)
    assert (playout.begin, playout.end) == (way.end, 11.34)


def test_an_interruption_tells_how_soon_it_was_silent() -> None:
    story = TurnStory(opened=1.0, decided=1.0, interruption=Interruption(2.0, 2.128))
    interrupted = named(list(edge_phases(story)), "interrupt")
    assert interrupted.attributes == {"voice.interrupt.stop_ms": 128}


def test_a_turn_that_was_typed_has_no_wait_for_its_end() -> None:
    story = TurnStory(opened=1.0, decided=1.0, first_sound=1.2, first_audio=1.22, over=2.0)
    assert [phase.name for phase in edge_phases(story)] == ["answer.wait", "codec.first_packet", "playout"]
    assert voice_to_voice_sec(story, None) is None


def test_a_dropped_turn_shows_what_was_heard_of_it() -> None:
    story = TurnStory(opened=0.9, speech_end=1.5)
    assert [phase.name for phase in edge_phases(story)] == ["receive", "vad.segment"]


moments = st.none() | st.floats(0, 100)


@given(
    st.builds(
        TurnStory,
        opened=st.floats(0, 100),
        speech_end=moments,
        decided=moments,
        has_floor=moments,
        first_sound=moments,
        first_audio=moments,
        over=moments,
    ),
    st.builds(
        CallerReport,
        turn_id=st.just("turn_1"),
        speech_end=moments,
        arrived=moments,
        heard=moments,
        jitter_buffer_sec=st.none() | st.floats(0, 60),
    ),
)
def test_the_callers_phases_never_end_before_they_begin(story: TurnStory, report: CallerReport) -> None:
    list(edge_phases(story))
    for phase in caller_phases(story, report):
        assert phase.end >= phase.begin
        assert all(phase.begin <= child.begin <= child.end <= phase.end for child in phase.children)
