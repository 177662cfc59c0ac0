"""Traces found in several files, also in damaged ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_client.trace.archive import Archive, Omissions, open_archive
from edge_client.trace.otlp import TraceFileError
from routing.errors import InvalidRequest
from routing.telemetry import names
from tests.trace_files import Programs, cloud_turn, device_turn, write_turns


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_turns(tmp_path_factory.mktemp("traces"))


def services(archive: Archive, turn: str) -> set[str]:
    return {span.service for span in archive.trace(archive.find_turn(turn).trace_id).spans}


def test_a_trace_is_put_together_from_the_files_of_all_programs(folder: Path) -> None:
    with open_archive([folder]) as archive:
        assert [mark.turn_id for mark in archive.turns] == ["turn-1", "turn-2", "turn-3", "turn-4"]
        assert services(archive, "turn-2") == {names.CALLER, names.EDGE, names.INGRESS, names.REPLICA}
        tree = archive.trace(archive.find_turn("2").trace_id)
        assert [root.name for root in tree.roots] == [names.TURN]
        assert archive.unrooted == 0


def test_a_pipe_cannot_be_read_twice(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with (
        os.fdopen(reading),
        os.fdopen(writing),
        pytest.raises(TraceFileError, match="expected a file, got a pipe"),
        open_archive([f"/dev/fd/{reading}"]),
    ):
        pass


def test_without_the_edge_s_file_the_turns_are_missing(folder: Path) -> None:
    with open_archive([folder / "antiphon-ingress.jsonl"]) as archive:
        assert archive.turns == ()
        assert archive.unrooted == 2


def test_what_the_caller_began_needs_no_root_of_the_caller(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    theirs = {"traceparent": f"00-{'0a' * 16}-{'0b' * 8}-01"}
    programs.spans(names.EDGE).begin(names.CONNECT, at=1.0, parent=theirs).end(at=2.0)
    programs.close()
    with open_archive([tmp_path]) as archive:
        assert archive.trace_ids == ("0a" * 16,)
        assert archive.unrooted == 0


def test_turns_and_traces_are_found_by_number_id_or_beginning(folder: Path) -> None:
    with open_archive([folder]) as archive:
        last = archive.find_turn("last")
        assert last == archive.find_turn("4") == archive.find_turn("turn-4")
        assert archive.find_trace(last.trace_id[:20].upper()) == last.trace_id
        for wanted, told in (("turn-", "more of the id, for it fits turn-1, turn-2"), ("9", "got 9"), ("x", "got x")):
            with pytest.raises(InvalidRequest, match=told):
                archive.find_turn(wanted)
        with pytest.raises(InvalidRequest, match="a trace of the files, such as"):
            archive.find_trace("nonsense")


def test_a_file_is_read_on_after_it_was_moved_aside(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    device_turn(programs, 1)
    programs.close()
    edge = tmp_path / f"{names.EDGE}.jsonl"
    with open_archive([edge, edge]) as archive:
        edge.rename(f"{edge}.1")
        edge.write_bytes(b"{}\n")
        tree = archive.trace(archive.turns[0].trace_id)
        assert {span.name for span in tree.spans} >= {names.TURN, names.ENDPOINT_WAIT}


def test_a_torn_last_line_is_no_error(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    device_turn(programs, 1)
    cloud_turn(programs, 2)
    programs.close()
    edge = tmp_path / f"{names.EDGE}.jsonl"
    edge.write_bytes(edge.read_bytes()[:-40])  # the end of the second turn
    with open_archive([tmp_path]) as archive:
        assert [mark.turn_id for mark in archive.turns] == ["turn-1"]
        assert archive.omissions == Omissions(torn=1)
        assert archive.unrooted == 1


def test_damage_in_the_midst_is_told_or_skipped(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    device_turn(programs, 1)
    programs.close()
    edge = tmp_path / f"{names.EDGE}.jsonl"
    first, rest = edge.read_bytes().split(b"\n", 1)
    edge.write_bytes(first + b"\n\n" + first[:50] + b"\n" + rest)
    with pytest.raises(TraceFileError, match=r"antiphon-edge.jsonl: line 3: .*--lenient"), open_archive([edge]):
        pass
    with open_archive([edge], lenient=True) as archive:
        assert archive.omissions == Omissions(damaged=1)
        assert len(archive.turns) == 1


def test_other_files_of_a_folder_are_left_out_but_none_that_was_named(folder: Path, tmp_path: Path) -> None:
    device_turn(programs := Programs(tmp_path), 1)
    programs.close()
    placements = tmp_path / "placements.jsonl"
    placements.write_text('{"format": "antiphon.placement.1"}\n')
    with open_archive([tmp_path]) as archive:
        assert archive.omissions == Omissions(foreign=(placements,))
    with pytest.raises(TraceFileError, match="line 1: expected an export of spans"), open_archive([placements]):
        pass


def test_no_traces_at_all_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(TraceFileError, match=r"expected traces in .*empty.jsonl, got none"):  # noqa: SIM117
        with open_archive([tmp_path / "empty.jsonl"]):
            pass
