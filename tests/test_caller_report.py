"""What a call was like, as tables and as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from edge_client.caller.measure import Latency
from edge_client.caller.report import (
    Conditions,
    TurnReport,
    as_json,
    conditions,
    report_turn,
    summary_table,
    turn_line,
    turns_table,
)
from edge_client.caller.spoken import Reply
from edge_client.caller.watch import ServerNumbers
from edge_client.quantiles import quantiles

QUIET = Conditions("Linux x86_64", 2, (0.1, 0.2, 0.3))


def reply(
    v2v_sec: float | None, *, early: bool = False, cut_sec: float | None = None, errors: tuple[str, ...] = ()
) -> Reply:
    return Reply(
        transcript="what [time] is it",
        answer="noon" if v2v_sec else "",
        latency=Latency(v2v_sec=v2v_sec, early=early, cut_sec=cut_sec),
        numbers=ServerNumbers(timings_ms={"endpoint_wait": 200.4, "ttfa": 7.6}, end_reason="semantic"),
        sound=None,
        errors=errors,
    )


def turns() -> list[TurnReport]:
    return [
        report_turn("What time is it?", reply(0.3)),
        report_turn("And now?", reply(None, errors=("no backend",))),
        report_turn("Wait!", reply(0.9, cut_sec=0.12)),
        report_turn("Hm?", reply(0.5, early=True)),
    ]


def printed(*things: object) -> str:
    console = Console(width=120, no_color=True)
    with console.capture() as capture:
        console.print(*things)
    return capture.get()


def test_the_table_shows_each_turn() -> None:
    text = printed(turns_table(turns()))
    assert "what [time] is it" in text
    assert "noon" in text
    assert "200" in text
    assert "300" in text
    assert "no reply" in text
    assert "no backend" in text
    assert "500 early" in text
    assert "(cut in; silence after 120 ms)" in " ".join(text.split())
    assert "3 of 4 answered, 1 early" in text


def test_a_foreign_server_leaves_blanks() -> None:
    plain = Reply(transcript="", answer="", latency=Latency(v2v_sec=0.4), numbers=ServerNumbers(), sound=None)
    text = printed(turns_table([report_turn("What time is it?", plain)]))
    assert "What time is it? (no transcript)" in text
    assert text.count("–") >= 3
    assert "400" in printed(turn_line(1, report_turn("What time is it?", plain)))


def placed(**told: object) -> TurnReport:
    numbers = ServerNumbers(timings_ms={"endpoint_wait": 200.4, "ttfa": 7.6}, placement=told)
    plain = Reply(transcript="hm", answer="aha", latency=Latency(v2v_sec=0.4), numbers=numbers, sound=None)
    return report_turn("Hm?", plain)


def test_the_table_shows_who_answered_and_what_was_expected_where_the_server_tells() -> None:
    cloud = placed(backend="cloud", reason="better, and soon enough", predicted_ms={"cloud": 351.2, "device": 222})
    text = printed(turns_table([cloud, *turns()]))
    (row,) = [line for line in text.splitlines() if " cloud " in line]
    cells = [cell.strip() for cell in row.split("│")]
    assert cells[6:9] == ["cloud", "351", "400"]
    assert "better, and" in text
    assert "placement" not in printed(turns_table(turns()))
    assert "cloud" in turn_line(1, cloud)


def test_a_change_of_the_speaker_is_shown() -> None:
    silent = {"backend": "device", "reason": "the cloud fell silent"}
    text = printed(turns_table([placed(backend="cloud", reason="better", switches=[silent])]))
    assert "cloud → device" in " ".join(text.split())
    assert "fell" in text


def test_the_trace_of_a_turn_is_shown_where_the_server_tells_it() -> None:
    plain = reply(0.3)
    traced = replace(plain, numbers=replace(plain.numbers, turn_id="t1", trace_id="0af7651916cd"), traced={"spans": []})
    report = report_turn("What time is it?", traced)
    assert printed(turn_line(1, report)).rstrip().endswith("trace 0af7651916cd")
    assert "trace" not in turn_line(1, report_turn("What time is it?", plain))
    (row,) = as_json([report], QUIET)["turns"]
    assert (row["turn_id"], row["trace_id"], row["traced"]) == ("t1", "0af7651916cd", {"spans": []})


def test_the_summary_leaves_barge_ins_out() -> None:
    text = printed(summary_table(turns()))
    (v2v,) = [line for line in text.splitlines() if "V2V" in line]
    assert [cell.strip() for cell in v2v.strip("│").split("│")] == ["V2V", "300", "500", "500", "500"]


def test_an_empty_summary_has_no_figures() -> None:
    assert printed(summary_table([])).count("–") == 12


def test_the_report_as_json() -> None:
    report = json.loads(json.dumps(as_json(turns(), QUIET)))
    assert (report["answered"], report["missed"], report["early"]) == (3, 1, 1)
    assert report["summary"]["v2v_ms"] == {"median": 300, "p90": 500, "p95": 500, "p99": 500}
    assert report["conditions"]["load"] == [0.1, 0.2, 0.3]
    assert report["turns"][0]["question"] == "What time is it?"
    assert report["turns"][0]["timings_ms"] == {"endpoint_wait": 200.4, "ttfa": 7.6}
    assert report["turns"][1]["v2v_ms"] is None


def test_the_conditions_of_this_machine() -> None:
    assert conditions().cores >= 1
    assert str(QUIET) == "Linux x86_64, 2 cores, load average 0.10 / 0.20 / 0.30"
    assert str(replace(QUIET, load=None)).endswith("load average –")


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200))
def test_quantiles_are_measured_values_with_enough_of_all_below(values: list[float]) -> None:
    found = quantiles(values)
    assert found is not None
    for share, value in zip((0.5, 0.9, 0.95, 0.99), found, strict=True):
        assert value in values
        assert sum(v <= value for v in values) >= math.floor(share * len(values))
        assert sum(v < value for v in values) < math.ceil(share * len(values) + 1e-9)


def test_no_values_have_no_quantiles() -> None:
    assert quantiles([]) is None


def test_the_tail_of_twenty_turns() -> None:
    assert quantiles(list(range(1, 21))) == pytest.approx((10, 18, 19, 20))
