"""A turn drawn for a terminal, wide or narrow, with colours or without."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from edge_client.trace.archive import open_archive
from edge_client.trace.traced_turn import TracedTurn
from edge_client.trace.turn_report import trace_report, turn_report
from edge_client.trace.waterfall import Waterfall
from routing.telemetry import names
from tests.test_trace_otlp import line as line_of
from tests.test_trace_traced_turn import told, traced
from tests.trace_files import TurnWriter, write_turns


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_turns(tmp_path_factory.mktemp("traces"))


def printed(picture: RenderableType, *, width: int = 140, encoding: str = "utf-8") -> list[str]:
    stream = io.TextIOWrapper(raw := io.BytesIO(), encoding=encoding)
    Console(file=stream, width=width, highlight=False).print(picture)
    stream.flush()
    return raw.getvalue().decode(encoding).splitlines()


def drawn(turn: TracedTurn, *, width: int = 140, whole: bool = False, encoding: str = "utf-8") -> list[str]:
    return printed(Waterfall(turn.tree, [turn.span], turn, whole=whole), width=width, encoding=encoding)


def row(lines: list[str], name: str) -> str:
    return next(line for line in lines if name in line)


def test_the_tree_has_names_services_times_and_outcomes(folder: Path) -> None:
    lines = drawn(traced(folder, "2"))
    assert row(lines, "queue.wait").startswith("│     ├╴queue.wait")
    assert row(lines, "queue.wait").split()[-2:] == ["+67.0", "20.0"]
    assert "replica" in row(lines, "queue.wait")
    assert row(lines, "infer.attempt").endswith("told")
    assert row(lines, "playout.first_audio").startswith("└╴")


def test_who_was_waited_for_is_drawn_full(folder: Path) -> None:
    lines = drawn(traced(folder, "2"))
    assert "█" not in row(lines, "queue.wait")
    assert "█" in row(lines, "decode.first_audio")
    assert "━" in row(lines, "answer.wait")


def test_attempts_in_vain_and_all_below_them_look_different(folder: Path) -> None:
    lines = drawn(traced(folder, "1"), whole=True)
    rolled_back = next(number for number, line in enumerate(lines) if line.endswith("rolled back"))
    for line in lines[rolled_back : rolled_back + 4]:
        assert "┄" in line
        assert "━" not in line
    assert "━" in row(lines[rolled_back + 4 :], "generate_content smollm2")


def test_an_outcome_of_another_shape_is_shown_too(tmp_path: Path) -> None:
    path = tmp_path / "edge.jsonl"
    outcome = {"key": names.ATTEMPT_OUTCOME, "value": {"kvlistValue": {}}}
    path.write_bytes(line_of(name=names.TURN, attributes=[outcome]))
    assert "{}" in row(drawn(traced(path, "1")), names.TURN)


def test_failures_are_marked_with_their_reason_also_where_it_is_narrow(tmp_path: Path) -> None:
    def story(writer: TurnWriter) -> None:
        writer.spoken().cloud_attempt(outcome="failed", end_ms=130, error="it went away")

    turn = told(tmp_path, story)
    assert "× infer.attempt" in row(drawn(turn), "infer.attempt")
    assert "failed, it went away" in row(drawn(turn), "infer.attempt")
    assert "failed, it went away" in "\n".join(drawn(turn, width=60))


def test_a_hole_is_shown(tmp_path: Path) -> None:
    def story(writer: TurnWriter) -> None:
        writer.write([writer.phase(names.ENDPOINT_WAIT, 0, 100), writer.phase(names.FIRST_PACKET, 130, 140)])

    hole = row(drawn(told(tmp_path, story)), "unattributed")
    assert hole.split()[-2:] == ["+100.0", "30.0"]
    assert "?" in hole


@pytest.mark.parametrize("width", [200, 109, 75, 40, 24])
def test_no_line_is_wider_than_the_terminal(folder: Path, width: int) -> None:
    lines = drawn(traced(folder, "3"), width=width)
    assert max(map(len, lines)) <= width
    assert len([line for line in lines if "├╴" in line or "└╴" in line]) == 23


def test_a_terminal_without_such_characters_gets_plain_ones(folder: Path) -> None:
    lines = drawn(traced(folder, "2"), encoding="ascii")
    assert "#" in row(lines, "+ answer.wait") or "=" in row(lines, "+ answer.wait")


def test_what_a_stranger_wrote_does_nothing_to_the_terminal(tmp_path: Path) -> None:
    def story(writer: TurnWriter) -> None:
        evil = "\x1b]0;evil\x07\x1b[2J[red]x"
        writer.spoken().write([writer.phase(evil, 0, 10, attributes={names.ENDPOINT_REASON: evil}, error=evil)])
        writer.write([writer.phase(names.ROUTE_DECIDE, 0, 1, attributes={names.ROUTE_REASON: evil})])

    told(tmp_path, story)
    with open_archive([tmp_path]) as archive:
        mark = archive.turns[0]
        turn = TracedTurn.of(archive.trace(mark.trace_id), mark.span_id)
        text = "\n".join(printed(turn_report(archive, turn, number=1, whole=False)))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "␛]0;evil␇␛[2J[red]x" in text


def test_a_turn_is_told_in_full(folder: Path) -> None:
    with open_archive([folder]) as archive:
        mark = archive.find_turn("2")
        turn = TracedTurn.of(archive.trace(mark.trace_id), mark.span_id)
        text = "\n".join(printed(turn_report(archive, turn, number=2, whole=False)))
    assert f"Turn 2 of 4: turn-2, session session-1, trace {mark.trace_id}" in text
    assert "ok; answered by cloud (better); V2V 216.0 ms, measured at the caller; 100.0% explained by named" in text
    assert "endpoint.wait: reason=semantic" in text
    assert "queue.wait → batch: span" in text


def test_details_leave_out_what_is_empty_and_whose_turn_it_is(tmp_path: Path) -> None:
    def story(writer: TurnWriter) -> None:
        attributes = {names.ROUTE_POLICY: "hedged", names.ROUTE_REASON: "", names.ROUTE_PATIENCE_MS: 200}
        writer.write([writer.phase(names.ROUTE_DECIDE, 0, 1, attributes=attributes)])

    told(tmp_path, story)
    with open_archive([tmp_path]) as archive:
        mark = archive.turns[0]
        turn = TracedTurn.of(archive.trace(mark.trace_id), mark.span_id)
        lines = printed(turn_report(archive, turn, number=1, whole=False))
    assert "route.decide: policy=hedged patience_ms=200" in lines


def test_links_say_what_they_mean(tmp_path: Path) -> None:
    def story(writer: TurnWriter) -> None:
        first = writer.cloud_attempt(outcome="failed", end_ms=130, error="it went away")
        retried = writer.phase(names.INFER_REQUEST, 130, 200, links=(first,))
        elsewhere = {"traceparent": f"00-{'0a' * 16}-{'0b' * 8}-01"}
        handed_over = writer.phase(
            "generate_content tiny", 200, 300, attributes={names.CONTINUES: "cloud"}, links=(first,)
        )
        writer.write([retried, handed_over, writer.phase(names.REPLICA_REQUEST, 130, 200, links=(elsewhere,))])

    told(tmp_path, story)
    with open_archive([tmp_path]) as archive:
        tree = archive.trace(archive.turns[0].trace_id)
        text = "\n".join(printed(trace_report(archive, tree, whole=False)))
    assert "infer.request → retry of: span" in text
    assert "generate_content tiny → goes on for: span" in text
    assert f"replica.request → retry of: span {'0b' * 8} in trace {'0a' * 16}, not in these files" in text


def test_a_trace_that_is_no_turn_is_shown_from_its_beginning(folder: Path) -> None:
    with open_archive([folder]) as archive:
        turns = {mark.trace_id for mark in archive.turns}
        batch = archive.trace(next(each for each in archive.trace_ids if each not in turns))
        text = "\n".join(printed(trace_report(archive, batch, whole=False)))
    assert "engine.step_window" in text
    assert "+0.0" in text
    assert "engine.step_window → turn in the batch: span" in text
