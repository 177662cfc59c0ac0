"""What became of each decision: a line of JSON per turn, for those who ask later why a turn went where it went.

A record holds times, names and reasons, and never a word of what was said. For a turn that had to stay on the device it
shows that nobody else was told of it.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import re
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from routing.errors import InvalidRequest, SettingsError
from routing.latency import LEVELS
from routing.policy import Choice, DeviceState, PolicyName, Prospect, Question, worth_sec

logger = logging.getLogger(__name__)

type Ending = Literal["told", "cut", "failed", "dropped"]

FORMAT: Final = "antiphon.placement.1"  # of a line; another shape gets another number
LAST_MOMENT = 253_402_214_400.0  # seconds since 1970, with a day to spare for time zones
SHOWN_CHARACTERS = 60  # of what a line held instead
WAITING_RECORDS = 1024  # until the disk has taken them: at a turn a second, a quarter of an hour

_TRACE_ID = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


class RecordError(InvalidRequest):
    """A line is no record of a placement. The message names the line and the field."""


# -- the words -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """One backend took a turn over from another.

    Args:
        told_sec: how much of the reply had been told by then, in seconds of sound; 0 where nothing was heard yet
        why: "too late", "connection lost", "stalled": an operator's words, none of the caller's
    """

    backend: str
    instead_of: str
    told_sec: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waste:
    """What a backend did for nothing: seconds it worked, and seconds of sound that nobody heard."""

    work_sec: float = 0.0
    sound_sec: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What happened.

    Args:
        backend: who spoke first; None where nobody did
        first_sound_sec: from the turn's end to the first sound (or, for text, the first words); None for none
        opened: every backend to which the turn was opened: those that got what was said
        arrivals: for each backend that was asked, the seconds from asking to its first sound; None where it had not
            come when the turn was over, or it was no longer waited for
        abandoned_sec: for each of those that had not come, the seconds from asking until nobody waited any more; one
            that failed meanwhile is not among them
        ended: told to its end, cut by the caller, failed everywhere, or dropped because the caller was gone
    """

    backend: str | None
    first_sound_sec: float | None
    ended: Ending
    opened: tuple[str, ...] = ()
    arrivals: Mapping[str, float | None] = field(default_factory=dict)
    abandoned_sec: Mapping[str, float] = field(default_factory=dict)
    switches: tuple[Switch, ...] = ()
    waste: Mapping[str, Waste] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementRecord:
    """One turn: what was known, what was decided, and what came of it.

    Args:
        at: when the turn was over, in seconds since 1970
        committed_after_sec: from the first question to a backend (a pause may have been enough) to the turn's end
        traceparent: of the turn, as it is in W3C Trace Context; empty where nobody traces
        decided_after_sec: from the turn's end to the decision, where the user's words had to be waited for
        decided_sec: how long the decision took
        decided_at: when it began, on the clock of the program that decided: no other can make anything of it
    """

    turn_id: str
    session_id: str
    index: int
    at: float
    policy: PolicyName
    question: Question
    prospects: tuple[Prospect, ...]
    device: DeviceState
    choice: Choice
    committed_after_sec: float
    outcome: Outcome
    traceparent: str = ""
    decided_after_sec: float = 0.0
    decided_sec: float = 0.0
    decided_at: Annotated[float, Field(exclude=True)] = 0.0

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits; empty where nobody traces."""
        found = _TRACE_ID.fullmatch(self.traceparent)
        return found.group(1) if found else ""

    def prospect(self, name: str) -> Prospect | None:
        return next((prospect for prospect in self.prospects if prospect.name == name), None)

    def waited_sec(self, name: str) -> float | None:
        """From the turn's end to the first sound of a backend, 0 where it was there before; None where none came."""
        arrival = self.outcome.arrivals.get(name)
        if arrival is None:
            return None
        prospect = self.prospect(name)
        return max(arrival - (prospect.asked_ago_sec if prospect else self.committed_after_sec), 0.0)

    def abandoned_after_sec(self, name: str) -> float | None:
        """How long a backend was waited for, from asking, without a sound; None where it came or failed."""
        return self.outcome.abandoned_sec.get(name) if self.outcome.arrivals.get(name) is None else None

    @property
    def regret_sec(self) -> float | None:
        """What the best backend in hindsight would have saved, in seconds of waiting; None where nobody spoke.

        Answers of a better model and their price count as the seconds they are worth. Only backends whose first sound
        came can be compared: what would have come later than it was waited for is not known.
        """
        spoke = self._burden_sec(self.outcome.backend, self.outcome.first_sound_sec)
        if spoke is None:
            return None
        burdens = [self._burden_sec(name, self.waited_sec(name)) for name in self.outcome.arrivals]
        return spoke - min(burden for burden in (*burdens, spoke) if burden is not None)

    def _burden_sec(self, name: str | None, waited_sec: float | None) -> float | None:
        prospect = self.prospect(name) if name is not None else None
        if prospect is None or waited_sec is None:
            return None
        return waited_sec - worth_sec(prospect.traits)

    @property
    def left_the_device(self) -> tuple[str, ...]:
        """The remote backends that were told of the turn; one that nobody knows counts as remote."""
        told = dict.fromkeys((*self.outcome.opened, *self.outcome.arrivals))
        return tuple(name for name in told if self._is_remote(name))

    @property
    def keeps_privacy(self) -> bool:
        """Whether a turn that had to stay on the device did so."""
        return not (self.question.stays_here and self.left_the_device)

    def _is_remote(self, name: str) -> bool:
        prospect = self.prospect(name)
        return prospect is None or prospect.traits.is_remote


# -- as text ---------------------------------------------------------------------------------------------------------


def _possible(record: PlacementRecord) -> PlacementRecord:
    if not 0.0 <= record.at <= LAST_MOMENT:
        raise ValueError(f"expected at to be seconds since 1970 up to the year 9999, got {record.at:g}")
    for prospect in record.prospects:
        got = len(prospect.response.values)
        if got != len(LEVELS):
            raise ValueError(f"expected {len(LEVELS)} quantiles of the response of {prospect.name}, got {got}")
    return record


class _Line(BaseModel):
    """What a line of the file holds."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)

    format: Literal["antiphon.placement.1"] = FORMAT
    placement: Annotated[PlacementRecord, AfterValidator(_possible)]


def as_json_line(record: PlacementRecord) -> str:
    """The record as one line of JSON, without the end of the line."""
    return _Line(placement=record).model_dump_json()


def from_json_line(line: str | bytes, *, number: int = 1) -> PlacementRecord:
    """The record that a line holds; ``number`` is the line's, for the message.

    Raises:
        RecordError: it is none. The message says which line and field, what was expected and what came.
    """
    form = _document(line, number).get("format")
    if form != FORMAT:
        raise RecordError(f"line {number}: expected a record of the format {FORMAT}, got {_shown(form)}")
    try:
        return _Line.model_validate_json(line).placement
    except ValidationError as error:
        raise RecordError(f"line {number}: {_first_fault(error)}") from None


def _document(line: str | bytes, number: int) -> dict[str, object]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or brackets without end
        raise RecordError(f"line {number}: expected a JSON object, got {_shown(line)} ({error})") from None
    if not isinstance(document, dict):
        raise RecordError(f"line {number}: expected a JSON object, got {_shown(document)}")
    return document


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    path = ".".join(str(part) for part in fault["loc"]).removeprefix("placement.")
    return f"{path}: {fault['msg']}, got {_shown(fault['input'])}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


# -- as a file -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RecordFileStatistics:
    """Records that are in the file, wait for the disk, found the queue full, or could not be written."""

    written: int
    waiting: int
    dropped: int
    failed: int


class RecordFile:
    """Appends records to a file, on a thread of its own: no turn waits for the disk.

    At most ``capacity`` records wait; what comes beyond is dropped and counted. Several processes may append to the
    same file. Whoever makes it closes it; making and closing touch the disk, and `recording` does both off the loop.

    Raises:
        SettingsError: the file cannot be written.
    """

    def __init__(self, path: Path, *, capacity: int = WAITING_RECORDS) -> None:
        try:
            self._file = path.open("ab", buffering=0)  # a line is one write: other processes' lines stay whole
        except OSError as error:
            raise SettingsError(f"cannot write placements to {path}: {error.strerror}") from error
        self.path = path
        self._capacity = capacity
        self._queue = SimpleQueue[PlacementRecord | None]()
        self._written = self._dropped = self._failed = 0
        self._closed = False
        self._thread = threading.Thread(target=self._write_all, name="placements", daemon=True)
        self._thread.start()

    def add(self, record: PlacementRecord) -> None:
        """Have it written. Never waits; after `close` the record is dropped."""
        if self._closed or self._queue.qsize() >= self._capacity:
            self._dropped += 1
        else:
            self._queue.put(record)

    def statistics(self) -> RecordFileStatistics:
        waiting = self._queue.qsize()
        return RecordFileStatistics(self._written, waiting, self._dropped, self._failed)

    def close(self) -> None:
        """Write what waits, and close the file. Waits for the disk."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _write_all(self) -> None:
        with self._file:
            while (record := self._queue.get()) is not None:
                self._write(record)

    def _write(self, record: PlacementRecord) -> None:
        try:
            self._append(as_json_line(record).encode() + b"\n")
            self._written += 1
        except (OSError, ValueError) as error:  # ValueError: what cannot be put in JSON
            if not self._failed:  # a full disk is told of once
                logger.warning("cannot write placements to %s: %s", self.path, error)
            self._failed += 1

    def _append(self, line: bytes) -> None:
        """All of it or nothing: the rest of a line that a full disk took in part would spoil the next one."""
        taken = self._file.write(line) or 0
        if taken == len(line):
            return
        end = self._file.tell()
        if os.fstat(self._file.fileno()).st_size == end:  # nobody has written behind it
            self._file.truncate(end - taken)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@asynccontextmanager
async def recording(path: Path, *, capacity: int = WAITING_RECORDS) -> AsyncIterator[RecordFile]:
    """A `RecordFile` that is complete and closed when the block ends.

    Raises:
        SettingsError: the file cannot be written.
    """
    file = await asyncio.to_thread(RecordFile, path, capacity=capacity)
    try:
        yield file
    finally:
        await asyncio.to_thread(file.close)
