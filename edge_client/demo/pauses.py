"""How long the conversation stood still, and how long it was allowed to: by the caller's ears and the edge's records.

A reply may be held back for a better one until its deadline, and where the device itself was not ready by then, until
it was. Where another one had to go on within a reply, it may take as long as a stream may be silent before it counts as
stalled, and the breath between two sentences.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_client.caller.report import TurnReport
from routing.record import PlacementRecord, from_json_line

GRACE_MS = 50.0  # to hand a turn from one to the other
STALL_MS = 500.0  # the edge's `routing.stall_patience_sec`
BREATH_MS = 500.0  # what the voice leaves between two sentences, whoever speaks


@dataclass(frozen=True, slots=True)
class Pause:
    """One stretch of silence in the turn with this number: what it was, and how long it might have been."""

    turn: int
    kind: str
    silent_ms: float
    deadline_ms: float

    @property
    def too_long(self) -> bool:
        return self.silent_ms > self.deadline_ms + GRACE_MS

    def __str__(self) -> str:
        return f"turn {self.turn}, {self.kind}: {self.silent_ms:.0f} ms, deadline {self.deadline_ms:.0f} ms"


def read_records(file: Path) -> dict[str, PlacementRecord]:
    """The records by turn; none where nothing was written. Reads the disk.

    Raises:
        RecordError: a line is no record.
    """
    if not file.exists():
        return {}
    lines = file.read_bytes().splitlines()
    records = [from_json_line(line, number=number) for number, line in enumerate(lines, 1)]
    return {record.turn_id: record for record in records}


def pauses(
    turns: Sequence[TurnReport], records: Mapping[str, PlacementRecord], numbers: Sequence[int]
) -> Iterator[Pause]:
    """Those of the turns with these ``numbers``, counted from 1."""
    for number in numbers:
        turn = turns[number - 1]
        record = records.get(turn.turn_id or "")
        if record and turn.ttfa_ms is not None:
            yield Pause(number, "before the reply", turn.ttfa_ms, deadline_ms(record))
        if turn.placed and len(turn.placed.backends) > 1:
            yield Pause(number, "where another went on", turn.longest_pause_ms, STALL_MS + BREATH_MS)


def deadline_ms(record: PlacementRecord) -> float:
    """When somebody had to speak, after the turn's end: when the better answer was given up, or the first one came."""
    choice = record.choice
    came = [record.waited_sec(name) for name in record.outcome.arrivals]
    soonest_sec = min((sec for sec in came if sec is not None), default=0.0)
    return max(choice.patience_sec if choice.second else 0.0, soonest_sec) * 1000
