"""Who was waited for, moment by moment."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest

from edge_client.trace.critical_path import critical_path, hidden_work
from edge_client.trace.traced_turn import Stretch, TracedTurn
from routing.telemetry import names
from tests.test_trace_traced_turn import told, traced
from tests.trace_files import TurnWriter, write_turns

BEFORE = [("network.uplink", 12), ("endpoint.wait", 64), ("endpoint.judge", 26), ("endpoint.wait", 10)]
AFTER = [("codec.first_packet", 2), ("network.downlink", 12), ("jitter_buffer", 20), ("playout.first_audio", 10)]


def rounded(stretches: Iterable[Stretch]) -> list[tuple[str, int]]:
    return [(each.span.name, round(each.duration_ms)) for each in stretches if each.span]


def answer(turn: TracedTurn) -> list[tuple[str, int]]:
    """Who was waited for while the answer was awaited."""
    path = rounded(critical_path(turn))
    assert path[:4] == BEFORE
    assert path[-4:] == AFTER
    return path[4:-4]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_turns(tmp_path_factory.mktemp("traces"))


@pytest.mark.parametrize("turn", ["1", "2", "3"])
def test_the_path_has_no_holes(folder: Path, turn: str) -> None:
    found = traced(folder, turn)
    path = critical_path(found)
    assert found.window is not None
    assert sum(each.duration_ms for each in path) == pytest.approx(found.window.duration_ms, abs=0.01)
    assert all(one.end_ns == other.begin_ns for one, other in pairwise(path))


def test_on_the_device_its_phases_are_waited_for(folder: Path) -> None:
    assert answer(traced(folder, "1")) == [("transcribe", 12), ("decode.first_audio", 48)]


def test_in_the_cloud_the_deepest_span_is_waited_for_and_at_last_the_way_back(folder: Path) -> None:
    assert answer(traced(folder, "2")) == [("prefill", 5), ("decode.first_audio", 50), ("infer.attempt", 5)]


def test_with_an_answer_held_back_the_other_one_is_waited_for(folder: Path) -> None:
    """The device is ready 20 ms after the turn's end; the cloud is given 40 more."""
    turn = traced(folder, "3")
    path = [each for each in critical_path(turn) if each.span and each.span.name == names.FIRST_AUDIO]
    assert [(each.span and each.span.service, round(each.duration_ms)) for each in path] == [
        (names.EDGE, 20),
        (names.REPLICA, 40),
    ]


def test_where_nobody_works_it_is_the_wait_itself(tmp_path: Path) -> None:
    def story(writer: TurnWriter) -> None:
        writer.spoken().heard_by_caller()
        writer.device_attempt(outcome="told", begin_ms=130, first_sound_ms=20, end_ms=400)

    assert answer(told(tmp_path, story)) == [
        ("answer.wait", 30),
        ("transcribe", 10),
        ("decode.first_audio", 10),
        ("answer.wait", 10),
    ]


def test_an_answer_that_the_user_cut_short_was_waited_for_all_the_same(tmp_path: Path) -> None:
    def story(writer: TurnWriter) -> None:
        writer.spoken().heard_by_caller()
        writer.device_attempt(outcome="rolled_back", begin_ms=64, first_sound_ms=200, end_ms=110)
        writer.device_attempt(outcome="cancelled", begin_ms=110, first_sound_ms=50, end_ms=400)

    assert answer(told(tmp_path, story)) == [("transcribe", 10), ("transcribe", 25), ("decode.first_audio", 25)]


def test_work_ahead_of_the_decision_is_told_apart(folder: Path) -> None:
    assert rounded(hidden_work(traced(folder, "1"))) == [("transcribe", 36)]
    assert rounded(hidden_work(traced(folder, "2"))) == [("infer.attempt", 5), ("queue.wait", 20), ("prefill", 25)]


def test_without_v2v_there_is_no_path(folder: Path) -> None:
    assert critical_path(traced(folder, "4")) == ()
    assert hidden_work(traced(folder, "4")) == ()
