"""V2V of a turn, and how much of it named phases explain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_client.trace.archive import open_archive
from edge_client.trace.traced_turn import TracedTurn
from routing.telemetry import names
from tests.trace_files import Programs, TurnWriter, write_turns

type Story = Callable[[TurnWriter], object]


def traced(folder: Path, turn: str = "last") -> TracedTurn:
    with open_archive([folder]) as archive:
        mark = archive.find_turn(turn)
        return TracedTurn.of(archive.trace(mark.trace_id), mark.span_id)


def told(folder: Path, story: Story) -> TracedTurn:
    programs = Programs(folder)
    turn = TurnWriter(programs, at=10.0)
    story(turn)
    turn.end()
    programs.close()
    return traced(folder)


def v2v_ms(turn: TracedTurn) -> float:
    assert turn.window is not None
    return turn.window.duration_ms


@pytest.mark.parametrize("turn", ["1", "2", "3"])
def test_every_kind_of_turn_is_explained_but_for_rounding(tmp_path: Path, turn: str) -> None:
    found = traced(write_turns(tmp_path), turn)
    assert v2v_ms(found) == pytest.approx(216, abs=0.01)
    assert found.measured == "caller"
    assert found.unattributed() == ()


def test_at_the_edge_v2v_ends_with_the_first_packet(tmp_path: Path) -> None:
    turn = told(tmp_path, lambda writer: writer.spoken())
    assert v2v_ms(turn) == pytest.approx(162, abs=0.01)
    assert turn.measured == "edge"


def test_a_caller_who_tells_only_what_was_heard_is_measured_in_part(tmp_path: Path) -> None:
    def story(writer: TurnWriter) -> None:
        writer.spoken().write([writer.phase(names.FIRST_PLAYOUT, 162, 190)], service=names.CALLER)

    turn = told(tmp_path, story)
    assert v2v_ms(turn) == pytest.approx(190, abs=0.01)
    assert turn.measured == "in part"


def test_a_hole_between_phases_is_unattributed(tmp_path: Path) -> None:
    def story(writer: TurnWriter) -> None:
        waits = [(names.ENDPOINT_WAIT, 0, 100), (names.ANSWER_WAIT, 110, 150), (names.FIRST_PACKET, 150, 160)]
        writer.write([writer.phase(*wait) for wait in waits])

    (hole,) = told(tmp_path, story).unattributed()
    assert hole.duration_ms == pytest.approx(10, abs=0.01)


def test_phases_that_overlap_explain_no_more_than_there_is(tmp_path: Path) -> None:
    def story(writer: TurnWriter) -> None:
        waits = [(names.ENDPOINT_WAIT, 0, 100), (names.FLOOR_WAIT, 20, 60), (names.FIRST_PACKET, 120, 130)]
        writer.write([writer.phase(*wait) for wait in waits])

    (hole,) = told(tmp_path, story).unattributed()
    assert hole.duration_ms == pytest.approx(20, abs=0.01)


def test_the_user_s_last_pause_counts(tmp_path: Path) -> None:
    def story(writer: TurnWriter) -> None:
        writer.spoken().write([writer.phase(names.ENDPOINT_WAIT, -900, -700)])

    assert v2v_ms(told(tmp_path, story)) == pytest.approx(162, abs=0.01)


@pytest.mark.parametrize(
    "story",
    [lambda writer: None, lambda writer: writer.write([writer.phase(names.ENDPOINT_WAIT, 0, 100)])],
    ids=["typed", "dropped"],
)
def test_without_question_or_answer_there_is_no_v2v(tmp_path: Path, story: Story) -> None:
    turn = told(tmp_path, story)
    assert turn.window is None
    assert turn.unattributed() == ()


def test_a_turn_is_hedged_where_both_were_asked(tmp_path: Path) -> None:
    folder = write_turns(tmp_path)
    assert [traced(folder, turn).is_hedged for turn in "123"] == [False, False, True]
