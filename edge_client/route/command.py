"""What `antiphon route` does, once its arguments are read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_client.route import decision, explain, replay
from edge_client.route.history import History, read_history
from routing.errors import SettingsError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from routing.policy import PolicyName

STANDARD_OUTPUT = Path("-")


def explain_file(path: Path, console: Console, *, turn: str | None, last: int, json_file: Path | None) -> None:
    """Tell why turns went where they went; with ``turn``, everything about that one.

    Raises:
        RecordError: the file holds something else.
        InvalidRequest: there is no such turn.
        SettingsError: the JSON cannot be written.
    """
    history = read_history(path)
    if turn is not None:
        record = history.find(turn)
        _give(console, decision.report(record), decision.as_json(record), json_file)
        return
    _give(console, explain.report(history.records, last=last), explain.as_json(history.records), json_file)
    _tell_of_torn_line(history, console, json_file)


def replay_file(path: Path, console: Console, *, policy: PolicyName, last: int, json_file: Path | None) -> None:
    """Tell what another policy would have done with the same turns.

    Raises:
        RecordError: the file holds something else.
        SettingsError: the JSON cannot be written.
    """
    history = read_history(path)
    turns = replay.replay(history.records, policy)
    _give(console, replay.report(turns, policy, last=last), replay.as_json(turns, policy), json_file)
    _tell_of_torn_line(history, console, json_file)


def _give(console: Console, report: RenderableType, document: dict[str, Any], json_file: Path | None) -> None:
    """The report on the console and its JSON in a file, or the JSON alone on standard output."""
    text = json.dumps(document, indent=2, default=_plain) + "\n"
    if json_file == STANDARD_OUTPUT:
        sys.stdout.write(text)
        return
    console.print(report, soft_wrap=False)
    if json_file is not None:
        _write(json_file, text)


def _plain(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError(f"expected a plain value, got {value!r}")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise SettingsError(f"cannot write {path}: {error.strerror}") from error


def _tell_of_torn_line(history: History, console: Console, json_file: Path | None) -> None:
    if history.torn and json_file != STANDARD_OUTPUT:
        console.print(
            "[dim]the last line is not whole, and was left out: it is being written, or its writer was killed[/]"
        )
