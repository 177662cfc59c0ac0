"""The demonstration as a whole: what is started, shown, judged, and left running."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge_client.caller.command import started_edge
from edge_client.caller.edge_process import NO_SETTINGS, EdgeProcess
from edge_client.caller.report import TurnReport, conditions, summary_table, turns_table
from edge_client.demo.cloud_process import Command, cloud_starting
from edge_client.demo.conversation import Asked, CloudInPlay, converse
from edge_client.demo.pauses import GRACE_MS, Pause, pauses, read_records
from edge_client.demo.programme import Programme
from edge_client.demo.verdict import trials, verdict, verdict_on_pauses, verdict_on_places, verdict_on_traces
from edge_client.network.relay import open_relay
from edge_client.trace.archive import open_archive
from edge_client.trace.summary import Summary, summarise
from routing.record import PlacementRecord

FOLDER = Path("artifacts/demo")
RECORDS = "placements.jsonl"
TRACES = "traces.jsonl"
LONGEST_START_SEC = 10.0
TRACED_SEC = 1.5  # until the last spans are in the file
MOST_MEMORY_MB = 900


class Hybrid(NamedTuple):
    """What an edge must be told of a cloud that is still to come."""

    settings: Mapping[str, str] = NO_SETTINGS
    cloud: CloudInPlay | None = None


async def demo(
    programme: Programme,
    console: Console,
    *,
    once: bool,
    port: int,
    cloud: Command | None,
    folder: Path = FOLDER,
) -> bool:
    """Hold the conversation, show it, and wait for Ctrl-C unless it is for ``once``; returns whether all went well.

    ``cloud`` is how one is started, and None does without.

    Raises:
        BackendUnavailable: the edge or the cloud did not start.
    """
    records, traces = await asyncio.to_thread(_emptied, folder, RECORDS, TRACES)
    traced = {"ANTIPHON_TELEMETRY__FILE": str(traces)}
    async with (
        _hybrid(cloud, records, console) as hybrid,
        started_edge(console, port=port, settings={**hybrid.settings, **traced}) as edge,
    ):
        asked = await converse(edge.url, programme, console, folder=folder, cloud=hybrid.cloud)
        faults = list(await _judge(asked, records, console) if hybrid.cloud else verdict(asked))
        faults += await _judge_traces(asked, traces, console)
        _show([each.turn for each in asked], edge, console)
        for fault in faults:
            console.print(f"[red]{escape(fault)}[/]")
        console.print(f"The replies are in {folder}. More on the time: antiphon trace summary {folder / TRACES}")
        if not once:
            await _leave_running(edge, console)
    return not faults


def _emptied(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in names]
    for file in files:
        file.unlink(missing_ok=True)
        file.with_name(f"{file.name}.1").unlink(missing_ok=True)  # what it had no room for any more
    return [file.absolute() for file in files]


@asynccontextmanager
async def _hybrid(command: Command | None, records: Path, console: Console) -> AsyncIterator[Hybrid]:
    """A cloud that begins to start now, behind a relay that can make it seem far away."""
    if command is None:
        yield Hybrid()
        return

    def progress(step: str) -> None:
        console.print(f"[dim]cloud: {escape(step)}[/]")

    async with open_relay() as (relay, address), cloud_starting(progress, command=command) as coming:
        settings = {
            "ANTIPHON_CLOUD__URL": f"ws://{address}",
            "ANTIPHON_CLOUD__HEARTBEAT_SEC": "0.5",  # what changes here changes within seconds
            "ANTIPHON_CLOUD__LONGEST_BACK_OFF_SEC": "2",
            "ANTIPHON_RECORDS": str(records),
        }
        yield Hybrid(settings, CloudInPlay(coming, relay))


async def _judge(asked: Sequence[Asked], records: Path, console: Console) -> Iterator[str]:
    """What went wrong; the pauses are shown."""
    found = await asyncio.to_thread(read_records, records)
    measured = list(pauses([each.turn for each in asked], found, trials(asked)))
    console.print(_pauses_table(measured))
    return _faults(asked, found, measured)


async def _judge_traces(asked: Sequence[Asked], traces: Path, console: Console) -> list[str]:
    """Whether it is known of each turn where its time went; what is known of all is shown."""
    await asyncio.sleep(TRACED_SEC)
    summary = await asyncio.to_thread(_summed_up, traces)
    least = summary.least_explained
    if least:
        console.print(f"Named waits explain {least.explained:.1%} of the V2V of each of {len(summary.turns)} turns")
    return list(verdict_on_traces(asked, summary))


def _summed_up(traces: Path) -> Summary:
    with open_archive([traces]) as archive:
        return summarise(archive)


def _faults(asked: Sequence[Asked], records: Mapping[str, PlacementRecord], measured: Sequence[Pause]) -> Iterator[str]:
    yield from verdict(asked)
    yield from verdict_on_places(asked, records)
    yield from verdict_on_pauses(measured)


def _pauses_table(measured: Sequence[Pause]) -> Table:
    title = f"Silence while the cloud was in trouble, in ms; at most the deadline and {GRACE_MS:.0f} ms expected"
    table = Table(title=title, title_justify="left")
    for heading in ("turn", "", "silence", "deadline"):
        table.add_column(heading, justify="left" if heading == "" else "right")
    for pause in measured:
        colour = "[red]" if pause.too_long else ""
        table.add_row(str(pause.turn), pause.kind, f"{colour}{pause.silent_ms:.0f}", f"{pause.deadline_ms:.0f}")
    return table


def _show(turns: Sequence[TurnReport], edge: EdgeProcess, console: Console) -> None:
    console.print(turns_table(turns), summary_table(turns), str(conditions()))
    first = next((turn.heard_at for turn in turns if turn.heard_at is not None), None)
    if first is not None:
        seconds = first - edge.started_at
        console.print(f"Start to first answered turn: {seconds:.1f} s (at most {LONGEST_START_SEC:.0f} expected)")
    if memory := edge.memory():
        megabytes = memory.peak / 1e6
        console.print(
            f"Resident memory of the edge: {megabytes:.0f} MB at its peak (at most {MOST_MEMORY_MB} expected)"
        )


async def _leave_running(edge: EdgeProcess, console: Console) -> None:
    """Until Ctrl-C, which is how this is meant to end, or until the edge ends."""
    console.print(f"\nThe page is at [bold]{edge.url}[/]. Open it, allow the microphone and speak. Ctrl-C ends it.")
    loop, ending = asyncio.get_running_loop(), asyncio.create_task(edge.ended())
    try:
        loop.add_signal_handler(signal.SIGINT, ending.cancel)
    except NotImplementedError:  # Windows: there Ctrl-C cancels this task
        await ending
    try:
        await asyncio.wait([ending])
    finally:
        ending.cancel()
        loop.remove_signal_handler(signal.SIGINT)
