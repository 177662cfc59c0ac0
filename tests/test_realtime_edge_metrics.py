"""What an edge counts of turns, connections, placements and attempts, and what it shows of itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from edge_client.loop_lag import LoopLagStatistics
from edge_client.realtime.edge_metrics import OUTCOMES, EdgeFigures, EdgeMetrics, SoundTotals, circuits_of
from edge_client.turn_story import Interruption, TurnStory
from edge_client.turn_trace import TurnFigures
from routing.latency import LEVELS, Distribution
from routing.policy import Choice, DeviceState, Prospect, Question, Traits
from routing.record import Outcome, PlacementRecord, Switch, Waste
from routing.telemetry.attempt_record import AttemptFigures
from routing.telemetry.exposition import OPEN_METRICS
from tests.counted import SAMPLED, Counted

CALM = LoopLagStatistics(p50_sec=0.001, p99_sec=0.002, worst_sec=0.05)


def turn(story: TurnStory | None = None, **figures: Any) -> TurnFigures:
    usual: dict[str, Any] = {
        "outcome": "ok",
        "target": "device",
        "story": story or TurnStory(opened=0.0),
        "v2v_sec": None,
        "measured": "edge",
        "concealed_sec": None,
        "carrier": SAMPLED,
    }
    return TurnFigures(**(usual | figures))


def attempt(**figures: Any) -> AttemptFigures:
    usual: dict[str, Any] = {
        "backend": "device",
        "model": "smollm2",
        "outcome": "told",
        "asked_at": 5.0,
        "first_sec": 0.1,
        "first_sound_sec": 0.2,
        "duration_sec": 1.1,
        "sound_sec": 3.0,
        "input_tokens": 20,
        "output_tokens": 11,
        "is_speculative": False,
    }
    return AttemptFigures(**(usual | figures))


def prospect(name: str, *, is_remote: bool, asked_ago_sec: float) -> Prospect:
    traits = Traits(is_remote=is_remote)
    return Prospect(name=name, traits=traits, response=Distribution((0.3,) * len(LEVELS)), asked_ago_sec=asked_ago_sec)


def placed(choice: Choice, outcome: Outcome) -> PlacementRecord:
    return PlacementRecord(
        turn_id="turn_1",
        session_id="sess_1",
        index=0,
        at=1.0,
        policy="hedged",
        question=Question(speech_sec=1.0),
        prospects=(
            prospect("device", is_remote=False, asked_ago_sec=0.2),
            prospect("cloud", is_remote=True, asked_ago_sec=0.2),
        ),
        device=DeviceState(),
        choice=choice,
        committed_after_sec=0.2,
        outcome=outcome,
        traceparent=SAMPLED["traceparent"],
    )


def shown(counted: Counted, name: str) -> Mapping[str, float]:
    """The samples of one metric that are not nothing, by their labels."""
    samples = counted.samples().items()
    return {line.removeprefix(name): value for line, value in samples if line.startswith(name) and value}


def traced(counted: Counted) -> set[str]:
    """The samples that name the trace that they were seen in."""
    lines = counted.exposition.scrape(accept=OPEN_METRICS).text.splitlines()
    return {re.split("[{ ]", line)[0] for line in lines if f'trace_id="{"ab" * 16}"' in line}


def test_before_anything_has_happened_nothing_is_told_as_nothing() -> None:
    counted = Counted.new()
    EdgeMetrics(counted.instruments, targets=["device"])
    samples = counted.samples()
    assert samples["voice_audio_underruns_total"] == 0
    turns = {line for line in samples if line.startswith("voice_turns_total")}
    assert turns == {
        f'voice_turns_total{{outcome="{outcome}",target="{target}"}}'
        for outcome in OUTCOMES
        for target in ("device", "none")
    }


def test_a_turn_is_counted_with_all_its_waits_and_its_trace() -> None:
    counted = Counted.new()
    story = TurnStory(opened=0.0, speech_end=2.0, decided=2.3, first_audio=2.7, end_reason="semantic", starved=240)
    story.interruption = Interruption(noticed=5.0, silent=5.1)
    metrics = EdgeMetrics(counted.instruments)
    metrics.note_turn(turn(story, outcome="interrupted", v2v_sec=0.75, measured="caller", concealed_sec=0.04))
    labels = 'measured="caller",outcome="interrupted",target="device"'
    assert shown(counted, "voice_turns_total") == {'{outcome="interrupted",target="device"}': 1}
    assert shown(counted, "voice_turn_first_audio_latency_seconds_sum") == {f"{{{labels}}}": 0.75}
    assert shown(counted, "voice_turn_ttfa_seconds_sum") == {'{target="device"}': pytest.approx(0.4)}
    assert shown(counted, "voice_endpoint_delay_seconds_sum") == {'{reason="semantic"}': pytest.approx(0.3)}
    assert shown(counted, "voice_interrupt_stop_latency_seconds_sum") == {"": pytest.approx(0.1)}
    assert shown(counted, "voice_audio_underruns_total") == {"": 1}
    assert traced(counted) == {
        "voice_turns_total",
        "voice_turn_first_audio_latency_seconds_bucket",
        "voice_turn_ttfa_seconds_bucket",
        "voice_endpoint_delay_seconds_bucket",
        "voice_interrupt_stop_latency_seconds_bucket",
        "voice_audio_underruns_total",
    }


def test_what_did_not_happen_in_a_turn_is_not_counted() -> None:
    counted = Counted.new()
    EdgeMetrics(counted.instruments).note_turn(turn(target="none", outcome="error", carrier={}))
    assert shown(counted, "voice_turn") == {'s_total{outcome="error",target="none"}': 1}
    assert shown(counted, "voice_endpoint") == shown(counted, "voice_interrupt") == shown(counted, "voice_audio") == {}


def test_a_connection_is_counted_whether_it_came_about_or_not() -> None:
    counted = Counted.new()
    metrics = EdgeMetrics(counted.instruments)
    metrics.note_connection(0.4, True, SAMPLED, "relay")
    metrics.note_connection(10.0, False, SAMPLED, "host")
    assert shown(counted, "voice_connect_duration_seconds_sum") == {
        '{outcome="connected"}': 0.4,
        '{outcome="failed"}': 10.0,
    }
    assert shown(counted, "voice_connections") == {'_total{pair="relay"}': 1}


def test_the_circuits_of_backends_are_numbers() -> None:
    counted = Counted.new()
    metrics = EdgeMetrics(counted.instruments)
    told = {"cloud": {"circuit": "open"}, "realtime": {"circuit": "half open"}, "device": {"circuit": None}}
    circuits = circuits_of({"backends": told})
    metrics.show(EdgeFigures(sessions=0, places=1, lag=CALM, sound=SoundTotals(), circuits=circuits))
    assert shown(counted, "voice_route_circuit") == {'{target="cloud"}': 2, '{target="realtime"}': 1}
    assert counted.samples()['voice_route_circuit{target="device"}'] == 0
    assert circuits_of({}) == {}


def test_the_first_look_at_an_edge_tells_how_long_its_start_took() -> None:
    counted = Counted.new()
    metrics = EdgeMetrics(counted.instruments)
    assert shown(counted, "process_start") == {}
    for _ in range(2):
        metrics.show(EdgeFigures(sessions=0, places=1, lag=CALM, sound=SoundTotals()))
    told = shown(counted, "process_start_duration_seconds")
    assert told == shown(counted, "process_start_duration_seconds") != {"": 0}


def test_a_placement_tells_who_answered_why_and_at_what_cost() -> None:
    counted = Counted.new()
    choice = Choice(
        first="cloud",
        second="device",
        patience_sec=0.3,
        reason="worth waiting: cloud is better, 90% likely within 300 ms",
        predicted_sec={"device": 0.1, "cloud": 0.2},
    )
    outcome = Outcome(
        backend="device",
        first_sound_sec=0.3,
        ended="told",
        arrivals={"device": 0.25, "cloud": None},
        switches=(Switch(backend="device", instead_of="cloud", told_sec=0.0, why="too late"),),
        waste={"cloud": Waste(work_sec=1.5)},
    )
    EdgeMetrics(counted.instruments).note_placed(placed(choice, outcome))
    assert shown(counted, "voice_route_decisions_total") == {'{reason="worth waiting",target="device"}': 1}
    assert shown(counted, "voice_route_prediction_error_seconds_sum") == {'{target="device"}': pytest.approx(0.05)}
    assert shown(counted, "voice_route_regret_seconds_sum") == {"": pytest.approx(0.25)}
    assert shown(counted, "voice_route_waste_seconds_total") == {'{target="cloud"}': 1.5}
    assert shown(counted, "voice_route_switches_total") == {'{reason="too late",target="device"}': 1}
    assert len(traced(counted)) == 5


def test_a_turn_that_nobody_answered_is_nobodys() -> None:
    counted = Counted.new()
    choice = Choice(first="", reason="there is nobody here to answer")
    EdgeMetrics(counted.instruments).note_placed(
        placed(choice, Outcome(backend=None, first_sound_sec=None, ended="failed"))
    )
    assert shown(counted, "voice_route") == {'_decisions_total{reason="nobody able",target="none"}': 1}


def test_an_attempt_is_counted_by_its_model() -> None:
    counted = Counted.new()
    metrics = EdgeMetrics(counted.instruments)
    metrics.note_attempt(attempt())
    metrics.note_attempt(attempt(outcome="failed", first_sec=None, output_tokens=0, duration_sec=0.5))
    assert shown(counted, "gen_ai_server_request_duration_seconds_sum") == {
        '{model="smollm2",outcome="told"}': 1.1,
        '{model="smollm2",outcome="failed"}': 0.5,
    }
    assert shown(counted, "gen_ai_server_time_to_first_token_seconds_count") == {'{model="smollm2"}': 1}


def test_what_nobody_waited_for_is_no_first_token() -> None:
    counted = Counted.new()
    EdgeMetrics(counted.instruments).note_attempt(attempt(outcome="rolled_back"))
    assert not shown(counted, "gen_ai_server_time_to_first_token_seconds_count")
    assert shown(counted, "gen_ai_server_request_duration_seconds_count")


def test_an_edge_shows_how_it_is_doing() -> None:
    counted = Counted.new()
    metrics = EdgeMetrics(counted.instruments)
    assert shown(counted, "voice_sessions") == {}
    media = {"playout": {"packets": 500, "skipped_frames": 5}, "receiver": {"jitter": {"concealed": 8000}}}
    metrics.show(EdgeFigures(sessions=3, places=16, lag=CALM, sound=SoundTotals.of(media)))
    metrics.note_turn(turn(concealed_sec=0.04))
    assert shown(counted, "voice_sessions_active") == {"": 3}
    assert shown(counted, "voice_session_capacity") == {"": 16}
    assert shown(counted, "voice_event_loop_lag_seconds") == {
        '{percentile="50"}': 0.001,
        '{percentile="99"}': 0.002,
        '{percentile="100"}': 0.05,
    }
    assert shown(counted, "voice_audio") == {
        "_played_seconds_total": 10,
        "_skipped_seconds_total": 0.1,
        '_concealed_seconds_total{direction="in"}': 0.5,
        '_concealed_seconds_total{direction="out"}': 0.04,
    }


def test_before_the_first_call_no_sound_was_sent() -> None:
    assert SoundTotals.of({"connections": 0}) == SoundTotals()
