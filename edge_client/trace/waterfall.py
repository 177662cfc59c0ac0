"""A trace for the terminal: a tree of spans with a bar for each, on one axis that begins as the user falls silent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from edge_client.trace.critical_path import critical_path
from edge_client.trace.plain_text import plain
from edge_client.trace.recorded_span import RecordedSpan
from edge_client.trace.span_notes import is_in_vain, note_of
from edge_client.trace.time_axis import TimeAxis
from edge_client.trace.traced_turn import Stretch, TracedTurn
from edge_client.trace.tree import Branch, Tree

WIDE: Final = 110  # characters from which there is room for notes beside the bars
MIDDLING: Final = 76  # and for services
SERVICE_WIDTH: Final = 8
FIGURE_WIDTH: Final = 9
LEAST_LABEL: Final = 12
LEAST_BAR: Final = 6
NOTE_SHARE: Final = 0.22


@dataclass(frozen=True, slots=True)
class Glyphs:
    """What lines are drawn with."""

    waited_for: str
    work: str
    in_vain: str
    failed: str
    missing: str
    moment: str
    cut: str
    branch: str
    last_branch: str
    stem: str


UNICODE: Final = Glyphs("█", "━", "┄", "×", "?", "┊", "…", "├╴", "└╴", "│ ")
ASCII: Final = Glyphs("#", "=", "-", "x", "?", ":", "~", "+ ", "` ", "| ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """How many characters each column has; 0 for those that there is no room for."""

    label: int
    service: int
    bar: int
    begin: int
    note: int

    @classmethod
    def within(cls, width: int, *, longest_label: int) -> Columns:
        """A narrow terminal has neither services nor notes beside the bars; a very narrow one has no beginnings."""
        service = SERVICE_WIDTH + 1 if width >= MIDDLING else 0
        note = round(width * NOTE_SHARE) if width >= WIDE else 0
        label = max(LEAST_LABEL, min(longest_label, round(width * 0.34)))
        begin = FIGURE_WIDTH if width >= LEAST_LABEL + LEAST_BAR + 2 * FIGURE_WIDTH else 0
        bar = max(LEAST_BAR, width - label - service - note - begin - FIGURE_WIDTH - 2)
        return cls(label=label, service=service, bar=bar, begin=begin, note=note)


@dataclass(frozen=True, slots=True)
class Line:
    """A span in its place."""

    label: str
    span: RecordedSpan
    in_vain: bool
    waited_for: tuple[tuple[int, int], ...]


class Waterfall:
    """Something that rich can print.

    Args:
        turn: whose critical path is marked; None for a trace that is no turn's
        whole: the axis shows all that there is, not only what lies about the wait for the answer
    """

    def __init__(
        self, tree: Tree, roots: Sequence[RecordedSpan], turn: TracedTurn | None, *, whole: bool = False
    ) -> None:
        self._branches = list(tree.walk(roots))
        self._turn = turn
        self._whole = whole or turn is None or turn.window is None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        glyphs = ASCII if options.ascii_only else UNICODE
        lines = list(_lines(self._branches, self._turn, glyphs))
        columns = Columns.within(options.max_width, longest_label=max(cell_len(line.label) for line in lines))
        picture = Picture(columns, self._axis(columns.bar), glyphs, self._turn.window if self._turn else None)
        yield picture.head()
        for line in lines:
            yield from picture.row(line)
        for stretch in self._turn.unattributed() if self._turn else ():
            yield picture.hole(stretch)
        yield legend(glyphs)

    def _axis(self, width: int) -> TimeAxis:
        spans = [branch.span for branch in self._branches]
        begin_ns = min(span.begin_ns for span in spans)
        zero_ns = (self._turn.last_sample_ns if self._turn else None) or begin_ns
        if self._turn and self._turn.window and not self._whole:
            return TimeAxis.around(self._turn.window, zero_ns=zero_ns, width=width)
        end_ns = max(span.end_ns for span in spans)
        return TimeAxis(begin_ns=begin_ns, end_ns=end_ns, zero_ns=zero_ns, width=width)


def legend(glyphs: Glyphs) -> Text:
    parts = (
        f"{glyphs.waited_for} waited for",
        f"{glyphs.work} work beside it",
        f"{glyphs.in_vain} rolled back or cancelled",
        f"{glyphs.failed} failed",
        f"{glyphs.moment} last sample, first sound",
    )
    return Text("   ".join(parts), style="dim")


def _lines(branches: Iterable[Branch], turn: TracedTurn | None, glyphs: Glyphs) -> Iterator[Line]:
    waited_for: dict[str, list[tuple[int, int]]] = {}
    for stretch in critical_path(turn) if turn else ():
        if stretch.span:
            waited_for.setdefault(stretch.span.span_id, []).append((stretch.begin_ns, stretch.end_ns))
    vain_depth: int | None = None
    for branch in branches:
        if vain_depth is not None and branch.depth <= vain_depth:
            vain_depth = None
        if vain_depth is None and is_in_vain(branch.span):
            vain_depth = branch.depth
        in_vain = vain_depth is not None
        yield Line(_label(branch, glyphs), branch.span, in_vain, tuple(waited_for.get(branch.span.span_id, ())))


def _label(branch: Branch, glyphs: Glyphs) -> str:
    """The name behind the lines of the tree; those of a very deep one are cut."""
    stems = "".join("  " if last else glyphs.stem for last in branch.last_of[1:-1])
    knot = (glyphs.last_branch if branch.last_of[-1] else glyphs.branch) if branch.depth else ""
    failed = f"{glyphs.failed} " if branch.span.failed else ""
    return f"{stems}{knot}{failed}{plain(branch.span.name)}"


@dataclass(frozen=True, slots=True)
class Picture:
    """Draws lines of text. ``window`` is marked on each of them."""

    columns: Columns
    axis: TimeAxis
    glyphs: Glyphs
    window: Stretch | None

    def head(self) -> Text:
        """The axis: its beginning, 0 and the moment of the first sound, as far as they are on it."""
        bar = [" "] * self.columns.bar
        moments = [self.axis.zero_ns, *([self.window.end_ns] if self.window else []), self.axis.begin_ns]
        for moment_ns in dict.fromkeys(moments):
            _put(bar, self.axis.column(moment_ns), f"{self.axis.ms(moment_ns):.0f}")
        figures = ("begin" if self.columns.begin else "", "ms")
        return self._line("", "", "".join(bar), figures, "", style="dim")

    def row(self, line: Line) -> Iterator[Text]:
        span, note = line.span, note_of(line.span)
        begin = f"{self.axis.ms(span.begin_ns):+.1f}"
        figures = (begin, f"{max(0, span.end_ns - span.begin_ns) / 1e6:.1f}")
        yield self._line(line.label, _short(span.service), self._bar(line), figures, note, style=_style(line))
        if note and not self.columns.note and (span.failed or line.in_vain):
            yield Text(f"{' ' * 4}{note}", style=_style(line), no_wrap=True, overflow="ellipsis")

    def hole(self, stretch: Stretch) -> Text:
        """Time that no phase accounts for."""
        bar = self._empty()
        self.axis.draw(bar, [(stretch.begin_ns, stretch.end_ns)], self.glyphs.missing)
        figures = (f"{self.axis.ms(stretch.begin_ns):+.1f}", f"{stretch.duration_ms:.1f}")
        return self._line("unattributed", "", "".join(bar), figures, "", style="yellow")

    def _bar(self, line: Line) -> str:
        bar = self._empty()
        glyphs, span = self.glyphs, line.span
        mark = glyphs.failed if span.failed else glyphs.in_vain if line.in_vain else glyphs.work
        self.axis.draw(bar, [(span.begin_ns, span.end_ns)], mark)
        self.axis.draw(bar, line.waited_for, glyphs.failed if span.failed else glyphs.waited_for)
        if span.begin_ns < self.axis.begin_ns < span.end_ns:
            bar[0] = glyphs.cut
        if span.begin_ns < self.axis.end_ns < span.end_ns:
            bar[-1] = glyphs.cut
        return "".join(bar)

    def _empty(self) -> list[str]:
        bar = [" "] * self.columns.bar
        for moment_ns in (self.window.begin_ns, self.window.end_ns) if self.window else (self.axis.zero_ns,):
            column = self.axis.column(moment_ns)
            if column is not None:
                bar[column] = self.glyphs.moment
        return bar

    def _line(self, label: str, service: str, bar: str, figures: tuple[str, str], note: str, *, style: str) -> Text:
        columns = self.columns
        begin, length = figures
        parts = [
            set_cell_size(label, columns.label),
            set_cell_size(f" {service}", columns.service),
            f" {bar} ",
            f"{begin:>{columns.begin}}" if columns.begin else "",
            f"{length:>{FIGURE_WIDTH}}",
            set_cell_size(f"  {note}", columns.note),
        ]
        return Text("".join(parts).rstrip(), style=style, no_wrap=True, overflow="ellipsis")


def _put(bar: list[str], column: int | None, text: str) -> None:
    """Write where there is room: nothing is written over."""
    if column is None:
        return
    first = min(column, len(bar) - len(text))
    if first >= 0 and not "".join(bar[max(0, first - 1) : first + len(text) + 1]).strip():
        bar[first : first + len(text)] = text


def _short(service: str) -> str:
    return plain(service).removeprefix("antiphon-")


def _style(line: Line) -> str:
    if line.span.failed:
        return "red"
    if line.in_vain:
        return "dim"
    return "bold" if line.waited_for else ""
