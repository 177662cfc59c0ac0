"""Traces that lie in files, found again without holding them all.

One pass notes which lines tell of each trace. The spans of a trace are read when they are asked for, so memory grows
with the number of lines and of traces, and not with what they hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

from edge_client.trace.otlp import TraceFileError, spans_of
from edge_client.trace.recorded_span import RecordedSpan
from edge_client.trace.trace_files import TraceFile, find_files
from edge_client.trace.tree import Tree
from routing.errors import InvalidRequest
from routing.telemetry import names

LINES_KEPT = 64  # neighbouring traces share lines
MAY_CONTINUE = frozenset({names.TURN, names.CONNECT})  # a trace that the caller has begun, and keeps to itself


class Place(NamedTuple):
    """Where a line begins."""

    file: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnMark:
    """A turn that is told of."""

    trace_id: str
    span_id: str
    turn_id: str
    begin_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Omissions:
    """What was not read.

    Args:
        torn: files whose last line is not whole: it is being written, or its writer was killed
        damaged: lines that were skipped where that was asked for
        foreign: files of a folder that hold something else
    """

    torn: int = 0
    damaged: int = 0
    foreign: tuple[Path, ...] = ()


class Archive:
    """The traces of open files. Made by `open_archive`."""

    def __init__(self, streams: Iterable[tuple[TraceFile, BinaryIO]], *, lenient: bool) -> None:
        self._lenient = lenient
        self._streams: list[BinaryIO] = []
        self._places: dict[str, list[Place]] = {}
        self._rooted: set[str] = set()
        self._torn = self._damaged = 0
        self._foreign: list[Path] = []
        marks: dict[tuple[str, str], TurnMark] = {}
        for file, stream in streams:
            self._streams.append(stream)
            self._index(file, stream, marks)
        self.turns = tuple(sorted(marks.values(), key=lambda mark: mark.begin_ns))
        self._read = lru_cache(maxsize=LINES_KEPT)(self._read_line)

    @property
    def trace_ids(self) -> tuple[str, ...]:
        return tuple(self._places)

    @property
    def omissions(self) -> Omissions:
        return Omissions(torn=self._torn, damaged=self._damaged, foreign=tuple(self._foreign))

    @property
    def unrooted(self) -> int:
        """Traces whose first span is in none of the files: it is not over yet, or another file has it."""
        return len(self._places.keys() - self._rooted)

    def trace(self, trace_id: str) -> Tree:
        """All that the files tell of a trace."""
        places = self._places.get(trace_id, ())
        return Tree(span for place in places for span in self._read(place) if span.trace_id == trace_id)

    def find_trace(self, trace_id: str) -> str:
        """The whole id of the trace that begins so.

        Raises:
            InvalidRequest: there is none, or there are several.
        """
        wanted = trace_id.lower()
        found = [each for each in self._places if each.startswith(wanted)]
        return _only(found, list(self._places), wanted, "trace")

    def find_turn(self, wanted: str) -> TurnMark:
        """A turn by its id, by how that begins, by its number in time (from 1), or the ``last`` one.

        Raises:
            InvalidRequest: there is none, or there are several.
        """
        if wanted == "last" and self.turns:
            return self.turns[-1]
        if wanted.isdecimal() and 0 < int(wanted) <= len(self.turns):
            return self.turns[int(wanted) - 1]
        by_id = {mark.turn_id: mark for mark in self.turns}
        found = [wanted] if wanted in by_id else [each for each in by_id if each.startswith(wanted)]
        return by_id[_only(found, list(by_id), wanted, "turn")]

    def _index(self, file: TraceFile, stream: BinaryIO, marks: dict[tuple[str, str], TurnMark]) -> None:
        number, offset = len(self._streams) - 1, 0
        for line_number, line in enumerate(stream, 1):
            try:
                spans = spans_of(line) if line.strip() else ()
            except TraceFileError as error:
                if self._is_foreign(file, line_number, line):
                    return
                self._pass_over(file, line_number, line, error)
                spans = ()
            self._note(spans, Place(number, offset), marks)
            offset += len(line)

    def _note(self, spans: Iterable[RecordedSpan], place: Place, marks: dict[tuple[str, str], TurnMark]) -> None:
        for span in spans:
            places = self._places.setdefault(span.trace_id, [])
            if not places or places[-1] != place:
                places.append(place)
            if not span.parent_id or span.name in MAY_CONTINUE:
                self._rooted.add(span.trace_id)
            if span.name == names.TURN:
                marks.setdefault((span.trace_id, span.span_id), _mark(span))

    def _is_foreign(self, file: TraceFile, line_number: int, line: bytes) -> bool:
        """Whether a folder holds a file of another kind: it is left out."""
        if file.named or line_number > 1 or not line.endswith(b"\n"):
            return False
        self._foreign.append(file.path)
        return True

    def _pass_over(self, file: TraceFile, line_number: int, line: bytes, error: TraceFileError) -> None:
        if not line.endswith(b"\n"):
            self._torn += 1
        elif self._lenient:
            self._damaged += 1
        else:
            hint = "--lenient skips such lines"
            raise TraceFileError(f"{file.path}: line {line_number}: {error} ({hint})") from None

    def _read_line(self, place: Place) -> tuple[RecordedSpan, ...]:
        stream = self._streams[place.file]
        stream.seek(place.offset)
        return spans_of(stream.readline())


@contextmanager
def open_archive(paths: Iterable[str | Path], *, lenient: bool = False) -> Iterator[Archive]:
    """The traces in files, folders and patterns. They stay open meanwhile: one that is moved aside is read on.

    Raises:
        TraceFileError: there is no trace, or something else.
    """
    with ExitStack() as files:
        archive = Archive(
            [(file, files.enter_context(_open(file.path))) for file in find_files(paths)], lenient=lenient
        )
        if not archive.trace_ids:
            raise TraceFileError(f"expected traces in {', '.join(map(str, paths))}, got none")
        yield archive


def _open(path: Path) -> BinaryIO:
    try:
        stream = path.open("rb")
    except OSError as error:
        raise TraceFileError(f"cannot read traces from {path}: {error.strerror}") from None
    if not stream.seekable():  # lines are read once to find them, and again when they are shown
        stream.close()
        raise TraceFileError(f"cannot read traces from {path}: expected a file, got a pipe")
    return stream


def _mark(span: RecordedSpan) -> TurnMark:
    turn_id = str(span.attributes.get(names.TURN_ID, span.span_id))
    return TurnMark(trace_id=span.trace_id, span_id=span.span_id, turn_id=turn_id, begin_ns=span.begin_ns)


def _only(found: list[str], known: list[str], wanted: str, what: str) -> str:
    if len(found) == 1:
        return found[0]
    some = ", ".join((found or known)[:3]) or "none at all"
    expected = "more of the id, for it fits" if found else f"a {what} of the files, such as"
    raise InvalidRequest(f"expected {expected} {some}, got {wanted}", code=f"unknown_{what}", param=what)
