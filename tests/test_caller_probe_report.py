"""What a probe has found, in sums, as a table and as JSON."""

from __future__ import annotations

import json

from rich.console import Console

from edge_client.caller.budget import BUDGETS
from edge_client.caller.packets import Packets
from edge_client.caller.probe_report import (
    ProbeConditions,
    ProbedCall,
    ProbedTurn,
    ProbeReport,
    as_json,
    figures_table,
    remarks,
    turn_line,
)
from edge_client.caller.report import Conditions

CONDITIONS = ProbeConditions(
    url="http://a.example",
    dialect="pipecat",
    network="wifi",
    silence_ms=None,
    at_once=2,
    machine=Conditions("Linux x86_64", 2, (0.1, 0.2, 0.3)),
)
QUICK = ProbedTurn(question="one", v2v_ms=300.0, reply_ms=800.0, packets=Packets(received=140, lost=2, recovered=2))
EARLY = ProbedTurn(question="two", v2v_ms=500.0, early=True, gaps=2, starved_ms=60.0, packets=Packets(received=100))
MISSED = ProbedTurn(question="[three]", errors=("it [fell] away",))
REPORT = ProbeReport(
    conditions=CONDITIONS,
    calls=[
        ProbedCall(number=1, connect_ms=40.0, turns=(QUICK, EARLY)),
        ProbedCall(number=2, turns=(MISSED,), fault="it [fell] away"),
    ],
    own_lag_ms=1.5,
)


def printed(*things: object) -> str:
    console = Console(width=120, no_color=True)
    with console.capture() as capture:
        console.print(*things)
    return capture.get()


def test_the_figures_have_the_names_of_the_budgets() -> None:
    assert set(BUDGETS) <= set(REPORT.figures())
    assert set(BUDGETS) <= set(ProbeReport(conditions=CONDITIONS).figures())


def test_the_figures_are_sums_and_quantiles_over_all_turns() -> None:
    figures = REPORT.figures()
    assert (figures["v2v_p50"], figures["v2v_max"], figures["connect_p50"]) == (300, 500, 40)
    counts = ("turns", "answered", "misses", "early", "gaps", "starved_ms", "received", "lost", "recovered")
    assert [figures[name] for name in counts] == [3, 2, 1, 1, 2, 60, 240, 2, 2]


def test_without_an_answer_there_is_no_latency() -> None:
    nothing = ProbeReport(conditions=CONDITIONS, calls=[ProbedCall(number=1, turns=(MISSED,))])
    assert nothing.figures()["v2v_p95"] is None
    assert "–" in printed(figures_table(nothing))


def test_a_turn_is_one_line() -> None:
    assert printed(turn_line("1.1", QUICK)) == "   1.1  one  V2V 300 ms  (2 lost, 2 recovered)\n"
    assert "answered too early, sound was late for 60 ms" in printed(turn_line("1.2", EARLY))
    missed = printed(turn_line("2.1", MISSED))
    assert "[three]  V2V no reply  (it [fell] away)" in missed


def test_the_table_and_the_remarks_tell_the_conditions() -> None:
    shown = printed(figures_table(REPORT), remarks(REPORT))
    for part in ("V2V", "connect", "300", "500", "misses 1", "network: wifi", "2 cores", "at most 2 ms late"):
        assert part in shown


def test_the_json_holds_all_of_it() -> None:
    report = json.loads(json.dumps(as_json(REPORT, ["misses is 1, 0 was allowed"])))
    assert report["conditions"]["machine"]["load"] == [0.1, 0.2, 0.3]
    assert report["conditions"]["network"] == "wifi"
    assert report["summary"]["v2v_p50"] == 300
    assert report["breaches"] == ["misses is 1, 0 was allowed"]
    assert [turn["missed"] for call in report["calls"] for turn in call["turns"]] == [False, False, True]
    assert report["calls"][1]["fault"] == "it [fell] away"
