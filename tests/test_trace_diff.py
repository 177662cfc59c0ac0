"""Two runs side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_client.trace.archive import open_archive
from edge_client.trace.diff import Comparison, Difference, as_json, compare
from edge_client.trace.summary import Summary, summarise
from routing.telemetry import names
from tests.trace_files import Programs, device_turn


def run_of(folder: Path, *answers_ms: float) -> Summary:
    programs = Programs(folder)
    for number, answer_ms in enumerate(answers_ms, 1):
        device_turn(programs, number, answer_ms=answer_ms)
    programs.close()
    with open_archive([folder]) as archive:
        return summarise(archive)


def row(difference: Difference, name: str) -> Comparison:
    return next(each for each in difference.rows if each.name == name)


@pytest.fixture(scope="module")
def difference(tmp_path_factory: pytest.TempPathFactory) -> Difference:
    folder = tmp_path_factory.mktemp("runs")
    answers_ms = [50.0 + 3 * number for number in range(8)]
    return compare(run_of(folder / "before", *answers_ms), run_of(folder / "after", *(2 * ms for ms in answers_ms)))


def test_v2v_comes_first_and_then_the_phases_in_their_order(difference: Difference) -> None:
    first = [each.name for each in difference.rows][:5]
    assert first == ["V2V", "network.uplink", "endpoint.wait", "answer.wait", "codec.first_packet"]
    assert difference.turns == (8, 8)


def test_what_doubled_is_slower_and_what_stayed_is_noise(difference: Difference) -> None:
    answer = row(difference, names.ANSWER_WAIT).p50
    assert answer.ratio == pytest.approx(2, abs=0.01)
    assert answer.difference == pytest.approx(59, abs=0.01)
    assert (answer.verdict, row(difference, names.ENDPOINT_WAIT).p50.verdict) == ("slower", "noise")


def test_of_few_turns_the_tail_is_not_judged(difference: Difference) -> None:
    assert row(difference, "V2V").p95.verdict == "unknown"


def test_a_phase_of_one_run_alone_is_listed(tmp_path: Path) -> None:
    nothing = run_of(tmp_path / "before", 0.0)
    transcribed = row(compare(nothing, run_of(tmp_path / "after", 60.0)), "transcribe")
    assert transcribed.turns == (0, 1)
    assert (transcribed.p50.before, transcribed.p50.difference, transcribed.p50.ratio) == (None, None, None)


def test_json_tells_the_rule_and_the_intervals(difference: Difference) -> None:
    document = as_json(difference)
    assert "bootstrap" in document["rule"]
    low, high = document["rows"][0]["p50"]["interval"]
    assert 0 < low < high
