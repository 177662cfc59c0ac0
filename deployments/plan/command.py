"""``antiphon plan``: found by `edge_client.cli` through the entry points of the group ``antiphon.commands``."""

from __future__ import annotations

import os
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from routing.errors import SettingsError
from routing.report_files import write_reports

if TYPE_CHECKING:
    from rich.console import Console

    from deployments.plan.deployment import Outcome
    from deployments.plan.report import Table
    from deployments.plan.settings import PlanSettings

LOG_WIDTH = 120  # where nobody says how wide the output may be

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command()
def plan(
    *,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Settings as YAML; configs/plan.yaml lists them all.")
    ] = None,
    measured: Annotated[
        Path | None, typer.Option(help="Take over what `antiphon load --json` has measured of an edge.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="What is left to chance is the same for the same seed.")] = 1,
    quick: Annotated[
        bool, typer.Option("--quick", help="Smaller cells and a shorter day: seconds, not a minute.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for the whole plan, as JSON; - prints only that.")
    ] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="File for a page with plots.")] = None,
) -> None:
    """Simulate a day of callers: how many replicas, GPUs and edges it takes, what callers feel, what it costs.

    Calls, turns, cold starts, failures and upgrades are played event by event, with the autoscaling policy that runs on
    a cluster, for 1,000, 100,000 and 10 million sessions. Large deployments are cells that share nothing; some are
    played, the others follow. k8s/CAPACITY.md explains the arithmetic, and what of it was measured.

    Examples:

      antiphon plan --html plan.html

      antiphon plan --config configs/plan.yaml --measured load.json --json plan.json

      antiphon plan --quick --seed 7
    """
    from deployments.plan.deployment import play
    from deployments.plan.measured import adopt, read_points
    from deployments.plan.settings import read_plan

    for file in (json_file, html_file):
        _check_file(file)
    if html_file and find_spec("matplotlib") is None:
        raise SettingsError("plots need the package matplotlib: install the extra `reports`, or leave out --html")
    settings = read_plan(config)
    settings = adopt(settings, read_points(measured)) if measured else settings
    settings = settings.quick() if quick else settings
    with _Telling() as telling:
        outcomes = play(settings, seed=seed, told=telling.tell)
    _write(settings, outcomes, seed=seed, json_file=json_file, html_file=html_file)


def _check_file(file: Path | None) -> None:
    """Before a minute of work is lost.

    Raises:
        SettingsError: it cannot be written.
    """
    if file and str(file) != "-" and (file.is_dir() or not file.parent.is_dir()):
        raise SettingsError(f"cannot write {file}: expected a file in a folder that exists")


def _write(
    settings: PlanSettings, outcomes: list[Outcome], *, seed: int, json_file: Path | None, html_file: Path | None
) -> None:
    import json

    from deployments.plan.report import as_json, as_page

    written = json.dumps(as_json(settings, outcomes, seed=seed), indent=1) if json_file else ""
    is_printed = str(json_file) == "-"
    if is_printed:
        typer.echo(written)
    else:
        _show(settings, outcomes)
    page = partial(as_page, settings, outcomes, seed=seed)
    write_reports({html_file: page, None if is_printed else json_file: lambda: f"{written}\n"})


def _show(settings: PlanSettings, outcomes: list[Outcome]) -> None:
    from deployments.plan.report import remarks, tables

    console = _console()
    for table in tables(settings, outcomes):
        _print(console, table)
    for remark in remarks(settings):
        console.print(remark)


def _print(console: Console, table: Table) -> None:
    from rich.markup import escape
    from rich.table import Table as RichTable

    from routing.report_page import shown

    drawn = RichTable(title=table.title, title_justify="left")
    for heading in table.headings:
        drawn.add_column(escape(heading), justify="right" if heading else "left")
    for row in table.rows:
        drawn.add_row(row.name, *map(shown, row.cells))
    console.print(drawn)


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = LOG_WIDTH
    return console


class _Telling:
    """A bar on stderr while it is played, where somebody looks."""

    def __init__(self) -> None:
        from rich.progress import Progress

        self._progress = Progress(console=_console(stderr=True), transient=True)
        self._tasks: dict[str, int] = {}

    def __enter__(self) -> _Telling:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def tell(self, name: str, share: float) -> None:
        """So much of this scale is over."""
        from rich.markup import escape

        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(escape(f"{name} sessions"), total=1.0)
        self._progress.update(self._tasks[name], completed=share)  # type: ignore[arg-type]
