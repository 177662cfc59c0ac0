"""Spans as a tree, however little there is of it."""

from __future__ import annotations

from edge_client.trace.recorded_span import RecordedSpan
from edge_client.trace.tree import Tree


def span(name: str, parent: str = "", begin: int = 0, end: int = 10) -> RecordedSpan:
    return RecordedSpan(
        trace_id="t", span_id=name, parent_id=parent, name=name, service="edge", begin_ns=begin, end_ns=end
    )


def drawn(*spans: RecordedSpan) -> list[str]:
    tree = Tree(spans)
    return ["  " * branch.depth + branch.span.name for branch in tree.walk(tree.roots)]


def test_children_follow_their_parents_in_time() -> None:
    assert drawn(span("late", "root", 5), span("deep", "early", 2), span("root"), span("early", "root", 1)) == [
        "root",
        "  early",
        "    deep",
        "  late",
    ]


def test_what_is_told_twice_counts_once() -> None:
    assert drawn(span("root"), span("child", "root"), span("child", "root")) == ["root", "  child"]


def test_a_span_without_its_parent_is_a_root() -> None:
    assert drawn(span("root"), span("orphan", "missing", 3), span("child", "orphan", 4)) == [
        "root",
        "orphan",
        "  child",
    ]


def test_a_ring_of_parents_is_opened_at_its_first() -> None:
    assert drawn(span("a", "b", 2), span("b", "a", 1), span("self", "self", 3)) == ["b", "  a", "self"]


def test_a_very_deep_tree_is_walked() -> None:
    spans = [span(str(depth), str(depth - 1)) for depth in range(3000)]
    assert len(drawn(*spans)) == 3000
