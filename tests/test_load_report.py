"""What a load has shown, for people, for programs, and as a page."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
from rich.console import Console

from edge_client.caller.report import Conditions
from edge_client.load.figures import figures_of
from edge_client.load.leak import judge
from edge_client.load.news import LoadedTurn
from edge_client.load.page import cores, distribution, html, in_progress, steps_html, v2v_over_time
from edge_client.load.plan import LoadPlan
from edge_client.load.progress import SparsePrinter
from edge_client.load.record import Sample
from edge_client.load.report import LoadReport, as_json, errors_table, remarks, verdict_table, waits_table
from edge_client.load.steps import measured, step_plan, step_rows, steps_json, steps_table, verdict
from tests.load_records import recorded

PLAN = LoadPlan(url="http://127.0.0.1:8080", rate_per_min=30, calls=4)
BESIDE = Conditions("Linux x86_64", 2, (0.1, 0.2, 0.3))
BEFORE = {"resident_bytes": 1.9e8, "tasks": 9.0, "sockets": 8.0}
AFTER = {"resident_bytes": 2.1e8, "tasks": 12.0, "sockets": 8.0}


def report() -> LoadReport:
    record = recorded()
    return LoadReport(
        plan=PLAN,
        conditions=BESIDE,
        record=record,
        processes=2,
        before=BEFORE,
        after=AFTER,
        findings=judge(BEFORE, record.samples, AFTER),
    )


def printed(*parts: object) -> str:
    console = Console(width=160, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as captured:
        console.print(*parts)
    return captured.get()


def test_people_are_told_waits_counts_costs_and_errors() -> None:
    told = report()
    tables = printed(waits_table(told.figures), errors_table(told.figures))
    assert "V2V" in tables
    assert "TPOT" not in tables  # nobody could measure it
    assert "no place" in tables
    assert remarks(told) == [
        "calls: 3 made, 1 failed, 1 refused a place (Retry-After 5 s), 0 resumed",
        "turns: 3 of 6 answered, 3 missed, 0 early",
        "sound: 2 underruns in 1 replies, 55 ms in all",
        "packets of sound: 3 lost, 2 concealed",
        "server: 1.6 sessions on average, 0.10 cores, 6.2 % of a core and 12.3 MB each session, 210.0 MB in all",
        "callers: 0.05 cores in 2 processes, at most 30 ms late, p99 of a minute 4 ms",
        "machine: Linux x86_64, 2 cores, load average 0.10 / 0.20 / 0.30 at the start",
    ]


def test_a_soak_tells_what_leaks() -> None:
    table = printed(verdict_table(report().findings))
    assert report().leaked
    assert [line.split("│")[1].strip() for line in table.splitlines() if " leak " in line][:1] == ["tasks"]


def test_programs_get_everything() -> None:
    told = json.loads(json.dumps(as_json(report())))
    assert told["summary"]["v2v_ms"] == {"p50": 500.0, "p95": 520.0, "p99": 520.0}
    assert told["summary"]["tpot_ms"] is None
    assert [len(told[name]) for name in ("calls", "turns", "samples")] == [4, 4, 5]
    assert [each["figure"] for each in told["leaks"] if each["leaked"]] == ["tasks"]
    assert told["turns"][2]["missed"] is True
    assert told["plan"]["rate_per_min"] == 30


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)


@pytest.mark.slow
def test_a_page_has_a_plot_of_each_thing_that_was_told() -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra `reports`")
    assert Elements(html(report())).found.count("svg") == 6  # two of waits, calls, processor, memory, what it holds
    step = measured(step_plan(PLAN, 2, listening=False, hold_sec=10), recorded(), BEFORE)
    assert Elements(steps_html([step], PLAN, [])).found.count("svg") == 3


def test_curves_are_what_they_are_called() -> None:
    turns = [LoadedTurn(call=1, at_sec=float(second), v2v_ms=400.0 + second) for second in range(100)]
    assert v2v_over_time(turns[:2]) == {"V2V": ([0.0, 1.0], [400.0, 401.0])}
    lines = v2v_over_time(turns)
    assert set(lines) == {"p50", "p95"}
    assert len(lines["p50"][0]) == 11
    assert distribution([1.0, 2.0]) == ([1.0, 2.0], [50.0, 100.0])
    assert in_progress(recorded().calls) == ([0.1, 1.1, 12.0, 13.0, 20.0], [1, 2, 1, 2, 1])
    samples = [Sample(at_sec=float(2 * n), calls=0, server={"cpu_sec": n * 1.0}) for n in range(3)]
    samples.append(Sample(at_sec=6.0, calls=0, server={"cpu_sec": 1.0}))  # a process has ended
    assert cores(samples, lambda sample: sample.server.get("cpu_sec")) == ([2.0, 4.0, 6.0], [0.5, 0.5, 0.0])


def test_a_step_is_measured_while_all_of_its_calls_are_there() -> None:
    plan = step_plan(PLAN, 2, listening=False, hold_sec=12)
    assert (plan.concurrent, plan.calls, plan.lasting, plan.listening) == (2, None, True, 0.0)
    assert plan.duration_sec == pytest.approx(0.6 + 3 + 12)
    step = measured(plan, recorded(), BEFORE)
    assert step.figures.answered == 2  # the others were asked before all had settled
    assert step.costs.sessions == 2
    assert step.costs.core_percent == pytest.approx(5.0)
    assert step.sessions_per_core == pytest.approx(20)
    assert not step.is_clean
    assert verdict([step]) == []
    assert step_rows([step])[0][:8] == ["2", "talking", "5.0", "10.0", "0.10", "20", "2/5", "500"]
    assert "talking" in printed(steps_table([step]))
    assert json.loads(json.dumps(steps_json([step], PLAN, BESIDE, idle=0.1)))["steps"][0]["calls"] == 2


def test_the_last_clean_step_tells_how_many_sessions_a_core_carries() -> None:
    record = recorded()
    clean = measured(step_plan(PLAN, 2, listening=True, hold_sec=12), record, BEFORE)
    assert figures_of(record).failed == 1
    assert verdict([clean]) == []


def test_a_log_gets_new_words_at_once_and_new_figures_now_and_then() -> None:
    now, lines = [0.0], list[str]()
    printer = SparsePrinter(lines.append, lambda: now[0])
    for at, message in ((0.0, "starting"), (1.0, "2 calls"), (3.0, "3 calls"), (17.0, "9.5 calls"), (18.0, "done")):
        now[0] = at
        printer.tell(message)
    assert lines == ["starting", "2 calls", "9.5 calls", "done"]
