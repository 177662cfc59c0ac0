"""A file of placements, read back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from routing.errors import InvalidRequest
from routing.record import PlacementRecord, RecordError, from_json_line


@dataclass(frozen=True, slots=True)
class History:
    """The turns of a file in their order; ``torn`` where its last line was not written to the end."""

    records: tuple[PlacementRecord, ...]
    torn: bool = False

    def find(self, turn_id: str) -> PlacementRecord:
        """The turn of this id, or of the only one that begins so.

        Raises:
            InvalidRequest: there is none, or there are several.
        """
        exact = [record for record in self.records if record.turn_id == turn_id]
        found = exact[-1:] or [record for record in self.records if record.turn_id.startswith(turn_id)]
        if len(found) != 1:
            some = ", ".join(record.turn_id for record in (found or self.records)[:3])
            expected = "more of the id, for it fits" if found else "the id of a turn in the file, such as"
            raise InvalidRequest(f"expected {expected} {some}, got {turn_id}", code="unknown_turn", param="turn")
        return found[0]


def read_history(path: Path) -> History:
    """The placements in a file that `routing.record.RecordFile` wrote, also while it is being written.

    Raises:
        RecordError: the file cannot be read, holds nothing, or something else; the message names line and field.
    """
    lines = _lines(path)
    torn = bool(lines) and not lines[-1].endswith(b"\n")
    try:
        records = tuple(_records(lines[:-1] if torn else lines))
        if torn:
            records, torn = _with_last(records, lines)
    except RecordError as error:
        raise RecordError(f"{path}: {error}") from None
    if not records:
        raise RecordError(f"expected placements in {path}, got an empty file")
    return History(records, torn)


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise RecordError(f"cannot read placements from {path}: {error.strerror}") from None


def _records(lines: list[bytes]) -> Iterator[PlacementRecord]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield from_json_line(line, number=number)


def _with_last(records: tuple[PlacementRecord, ...], lines: list[bytes]) -> tuple[tuple[PlacementRecord, ...], bool]:
    """The last line as well, if only its end is missing. It is an error only where it is all there is."""
    try:
        return (*records, from_json_line(lines[-1], number=len(lines))), False
    except RecordError:
        if not records:
            raise
        return records, True
