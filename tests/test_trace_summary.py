"""Where the time went, over all turns."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_client.trace.archive import open_archive
from edge_client.trace.summary import Group, Summary, summarise
from edge_client.trace.summary_report import as_json, headline
from routing.telemetry import names
from tests.trace_files import Programs, TurnWriter, cloud_turn, device_turn, write_turns


def summary_of(folder: Path) -> Summary:
    with open_archive([folder]) as archive:
        return summarise(archive)


def shares(group: Group) -> dict[str, float]:
    return {row.name: round(row.share, 3) for row in group.phases}


def test_turns_are_grouped_by_who_spoke_and_those_without_v2v_are_counted(tmp_path: Path) -> None:
    summary = summary_of(write_turns(tmp_path))
    assert [(group.name, group.turns) for group in summary.groups] == [
        ("all", 3),
        ("device", 2),
        ("cloud", 1),
        ("hedged", 1),
    ]
    assert summary.without == {"ok": 1}
    assert summary.unrooted == 0
    assert headline(summary) == (
        "3 turns with V2V; 2 device, 1 cloud, 1 hedged; 3 measured at the caller; "
        "1 more without: typed, dropped or unanswered (1 ok)"
    )


def test_phases_are_in_the_order_of_a_turn_and_add_up(tmp_path: Path) -> None:
    group = summary_of(write_turns(tmp_path)).groups[0]
    assert shares(group) == {
        "network.uplink": 0.056,
        "endpoint.wait": 0.463,
        "answer.wait": 0.278,
        "codec.first_packet": 0.009,
        "network.downlink": 0.056,
        "jitter_buffer": 0.093,
        "playout.first_audio": 0.046,
    }
    assert sum(row.share for row in group.critical) == pytest.approx(1, abs=1e-3)


def test_quantiles_tell_slow_turns_from_most(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    for number in range(1, 20):
        device_turn(programs, number)
    cloud_turn(programs, 20, answer_ms=500)
    programs.close()
    group = summary_of(tmp_path).groups[0]
    answer = next(row for row in group.phases if row.name == names.ANSWER_WAIT)
    assert [round(value) for value in answer.tail] == [60, 60, 500]
    assert [round(value) for value in group.v2v] == [216, 216, 656]


def test_the_least_explained_turn_is_told(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    device_turn(programs, 1)
    turn = TurnWriter(programs, at=20.0, number=2)
    turn.write([turn.phase(names.ENDPOINT_WAIT, 0, 150), turn.phase(names.FIRST_PACKET, 190, 200)])
    turn.end(voice__turn__first_audio_latency_ms=90)
    programs.close()
    least = (summary := summary_of(tmp_path)).least_explained
    assert least is not None
    assert (least.turn_id, round(least.explained, 3)) == ("turn-2", 0.8)
    assert least.contradicts_itself
    assert as_json(summary)["least_explained"] == least.explained


def test_turns_without_their_edge_are_counted(tmp_path: Path) -> None:
    write_turns(tmp_path)
    (tmp_path / f"{names.EDGE}.jsonl").unlink()
    summary = summary_of(tmp_path)
    assert summary.groups == ()
    assert summary.unrooted == 3
