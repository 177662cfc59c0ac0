"""The report of a load as a page with plots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec

from edge_client.load.figures import MEASURES
from edge_client.load.news import LoadedTurn
from edge_client.load.plan import LoadPlan
from edge_client.load.record import LoadedCall, Sample
from edge_client.load.report import MEGABYTE, LoadReport, remarks, verdict_rows, waits
from edge_client.load.steps import HEADINGS, Step, step_rows
from edge_client.quantiles import Tail, tail_of
from routing.errors import SettingsError
from routing.report_page import Line, ReportPage

BUCKETS = 60  # stretches of time that the waits of turns are summed up over
FEWEST = 20  # turns above which that is done


def check_for_plots() -> None:
    """To be told before anything is measured.

    Raises:
        SettingsError: the package that draws is not installed.
    """
    if find_spec("matplotlib") is None:
        raise SettingsError("plots need the package matplotlib: install the extra `reports`")


def html(report: LoadReport) -> str:
    """The whole page."""
    page = ReportPage(f"Load on {report.plan.url}")
    for line in remarks(report):
        page.paragraph(line)
    page.heading("Times in ms")
    page.table(["", *Tail._fields], [[name, *tail] for name, tail in waits(report.figures).items()])
    if report.findings:
        page.heading("Leaks")
        headings = ["figure", "before", "after", "growth", "allowed", "leak", "compared"]
        page.table(headings, verdict_rows(report.findings))
    _plot_waits(page, [turn for turn in report.record.turns if turn.v2v_ms is not None])
    _plot_calls(page, report.record.calls)
    _plot_server(page, report.record.samples)
    if report.figures.errors:
        page.heading("Errors")
        page.table(["error", "times"], list(report.figures.errors.items()))
    return page.html()


def _plot_waits(page: ReportPage, turns: Sequence[LoadedTurn]) -> None:
    if not turns:
        return
    page.heading("Waits")
    caption = "Voice to voice at the caller, over stretches of the run" if len(turns) > FEWEST else "Voice to voice"
    page.lines(v2v_over_time(turns), caption=caption, across="s", up="ms")
    values = {name: sorted(value for turn in turns if (value := MEASURES[name](turn)) is not None) for name in CURVES}
    curves = {name.removesuffix("_ms").upper(): distribution(found) for name, found in values.items() if found}
    page.lines(curves, caption="Share of turns with at most so long a wait", across="ms", up="%")


CURVES = ("v2v_ms", "ttfa_ms")


def v2v_over_time(turns: Sequence[LoadedTurn]) -> dict[str, Line]:
    """Middle and tail in each stretch of time; of few turns, each."""
    ordered = sorted((turn.at_sec, turn.v2v_ms) for turn in turns if turn.v2v_ms is not None)
    if len(ordered) <= FEWEST:
        return {"V2V": ([at for at, _ in ordered], [value for _, value in ordered])}
    begin, whole = ordered[0][0], ordered[-1][0] - ordered[0][0]
    width = max(whole / min(BUCKETS, len(ordered) // 10), 1e-3)
    buckets: dict[int, list[float]] = {}
    for at, value in ordered:
        buckets.setdefault(int((at - begin) / width), []).append(value)
    times = [begin + (index + 0.5) * width for index in buckets]
    tails = [tail for values in buckets.values() if (tail := tail_of(values))]
    return {"p50": (times, [tail.p50 for tail in tails]), "p95": (times, [tail.p95 for tail in tails])}


def distribution(values: Sequence[float]) -> Line:
    """Of sorted values: up to each, how many of a hundred."""
    return list(values), [100 * (index + 1) / len(values) for index in range(len(values))]


def _plot_calls(page: ReportPage, calls: Sequence[LoadedCall]) -> None:
    talking = in_progress([call for call in calls if not call.listening])
    listening = in_progress([call for call in calls if call.listening])
    lines = {name: line for name, line in (("talking", talking), ("listening", listening)) if line[0]}
    if lines:
        page.heading("Calls")
        page.lines(lines, caption="Calls in progress", across="s", up="calls", steps=True)


def in_progress(calls: Sequence[LoadedCall]) -> Line:
    """How many there were, at each moment when that changed."""
    changes = [(call.connected_sec, 1) for call in calls if call.connected_sec is not None]
    changes += [(call.ended_sec, -1) for call in calls if call.connected_sec is not None and call.ended_sec is not None]
    times, counts, count = list[float](), list[float](), 0
    for at, change in sorted(changes):
        count += change
        times.append(at)
        counts.append(count)
    return times, counts


def _plot_server(page: ReportPage, samples: Sequence[Sample]) -> None:
    memory = {"server": _over_time(samples, lambda sample: _scaled(sample.server.get("resident_bytes")))}
    cpu = {"server": cores(samples, lambda sample: sample.server.get("cpu_sec"))}
    cpu["callers"] = cores(samples, lambda sample: sample.callers.get("cpu_sec"))
    counted = {
        name.replace("_", " "): _over_time(samples, partial(_figure, name))
        for name in ("tasks", "sockets", "files", "threads", "peer_connections")
    }
    _plot(page, cpu, heading="Processor", caption="Cores in use", up="cores")
    _plot(page, memory, heading="Memory", caption="Resident memory", up="MB")
    _plot(page, counted, heading="What the server holds", caption="As the server and its machine tell", up="count")


def _plot(
    page: ReportPage, lines: Mapping[str, Line], *, heading: str = "", caption: str, across: str = "s", up: str
) -> None:
    """Only what was told, and nothing where nothing was."""
    told = {name: line for name, line in lines.items() if line[0]}
    if told and heading:
        page.heading(heading)
    if told:
        page.lines(told, caption=caption, across=across, up=up)


def _figure(name: str, sample: Sample) -> float | None:
    return sample.server.get(name)


def _scaled(size: float | None) -> float | None:
    return None if size is None else size / MEGABYTE


def _over_time(samples: Sequence[Sample], figure: Callable[[Sample], float | None]) -> Line:
    told = [(sample.at_sec, value) for sample in samples if (value := figure(sample)) is not None]
    return [at for at, _ in told], [value for _, value in told]


def cores(samples: Sequence[Sample], cpu_sec: Callable[[Sample], float | None]) -> Line:
    """Processor time between samples, by the time between them; none where a process has ended with its own."""
    times, used = _over_time(samples, cpu_sec)
    pairs = [(times[n], max(0.0, used[n] - used[n - 1]) / (times[n] - times[n - 1])) for n in range(1, len(times))]
    return [at for at, _ in pairs], [value for _, value in pairs]


def steps_html(steps: Sequence[Step], plan: LoadPlan, words: Sequence[str]) -> str:
    """The page of a run in steps, with what is to be said about all of them as ``words``."""
    page = ReportPage(f"Load in steps on {plan.url}")
    page.table([heading.replace("\n", " ") for heading in HEADINGS], step_rows(steps))
    for line in words:
        page.paragraph(line)
    ways = {"listening": True, "talking": False}
    found = {way: [step for step in steps if step.listening is listens] for way, listens in ways.items()}
    _plot(page, _by_calls(found, lambda step: step.costs.core_percent), caption=CPU, across="calls", up="%")
    _plot(page, _by_calls(found, lambda step: _scaled(step.costs.session_bytes)), caption=RAM, across="calls", up="MB")
    waits = {f"V2V {name}": [step for step in steps if not step.listening] for name in Tail._fields}
    lines = {name: _by_calls({name: talking}, partial(_wait, name[4:]))[name] for name, talking in waits.items()}
    _plot(page, lines, caption="Voice to voice, by the number of calls", across="calls", up="ms")
    return page.html()


CPU = "Processor time of each session, by the number of calls"
RAM = "Resident memory of each session, by the number of calls"


def _wait(name: str, step: Step) -> float | None:
    tail = step.figures.tails["v2v_ms"]
    return None if tail is None else float(getattr(tail, name))


def _by_calls(found: Mapping[str, Sequence[Step]], figure: Callable[[Step], float | None]) -> dict[str, Line]:
    lines: dict[str, Line] = {}
    for way, steps in found.items():
        told = [(step.calls, value) for step in steps if (value := figure(step)) is not None]
        lines[way] = ([calls for calls, _ in told], [value for _, value in told])
    return lines
