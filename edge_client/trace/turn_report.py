"""A turn told in full: what became of it, its waterfall, why, and what it is linked with."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group as Lines
from rich.console import RenderableType
from rich.text import Text

from edge_client.trace.archive import Archive
from edge_client.trace.plain_text import plain
from edge_client.trace.recorded_span import RecordedSpan
from edge_client.trace.span_notes import details_of, headline_of, relation
from edge_client.trace.traced_turn import TracedTurn
from edge_client.trace.tree import Tree
from edge_client.trace.waterfall import Waterfall
from routing.telemetry import names

LINKS_SHOWN = 12
EARS = {"caller": "measured at the caller", "edge": "measured at the edge", "in part": "measured in part at the caller"}


def turn_report(archive: Archive, turn: TracedTurn, *, number: int, whole: bool) -> RenderableType:
    """The ``number``-th turn of the files."""
    title = f"Turn {number} of {len(archive.turns)}: {plain(turn.turn_id)}"
    ids = [f"session {plain(session)}"] if (session := turn.span.attributes.get(names.SESSION_ID)) else []
    heading = Text(", ".join([title, *ids, f"trace {turn.span.trace_id}"]), style="bold")
    waterfall = Waterfall(turn.tree, [turn.span], turn, whole=whole)
    spans = [branch.span for branch in turn.tree.walk([turn.span])]
    return Lines(heading, Text("; ".join(_story(turn))), waterfall, *_details(spans), *_links(archive, spans))


def trace_report(archive: Archive, tree: Tree, *, whole: bool) -> RenderableType:
    """A trace with all that is in it: also those that are no turn's."""
    turns = [TracedTurn(tree, span) for span in tree.spans if span.name == names.TURN]
    heading = Text(f"Trace {tree.spans[0].trace_id}: {len(tree.spans)} spans", style="bold")
    stories = [Text(f"{plain(turn.turn_id)}: {'; '.join(_story(turn))}") for turn in turns]
    waterfall = Waterfall(tree, tree.roots, turns[0] if turns else None, whole=whole)
    return Lines(heading, *stories, waterfall, *_details(tree.spans), *_links(archive, tree.spans))


def _story(turn: TracedTurn) -> Iterator[str]:
    yield from headline_of(turn.span)
    if turn.window is None:
        yield "no V2V: typed, dropped or unanswered"
        return
    v2v_ms = turn.window.duration_ms
    missing_ms = sum(stretch.duration_ms for stretch in turn.unattributed())
    yield f"V2V {v2v_ms:.1f} ms, {EARS[turn.measured]}"
    yield f"{1 - missing_ms / v2v_ms:.1%} explained by named phases"


def _details(spans: tuple[RecordedSpan, ...] | list[RecordedSpan]) -> Iterator[Text]:
    for span in spans:
        if details := details_of(span):
            yield Text(f"{plain(span.name)}: {details}", style="dim")


def _links(archive: Archive, spans: tuple[RecordedSpan, ...] | list[RecordedSpan]) -> Iterator[Text]:
    links = [(span, link) for span in spans for link in span.links]
    for span, (trace_id, span_id) in links[:LINKS_SHOWN]:
        linked = archive.trace(trace_id).get(span_id)
        where = "" if trace_id == span.trace_id else f" in trace {trace_id}"
        absent = "" if linked else ", not in these files"
        yield Text(f"{plain(span.name)} → {relation(span, linked)}: span {span_id}{where}{absent}", style="dim")
    if len(links) > LINKS_SHOWN:
        yield Text(f"and {len(links) - LINKS_SHOWN} more links", style="dim")
