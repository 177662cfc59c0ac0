"""The spans of a trace as a tree, whatever is missing of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from edge_client.trace.recorded_span import RecordedSpan

LEVELS_TOLD = 10


class Branch(NamedTuple):
    """A span in its place, ``depth`` below its root.

    ``last_of`` tells of it and of those above it, the nearest 10 and itself as the last one, who is the last child.
    """

    span: RecordedSpan
    depth: int
    last_of: tuple[bool, ...]


class Tree:
    """Spans of one trace. One that is told of twice counts once; one whose parent is missing is a root."""

    def __init__(self, spans: Iterable[RecordedSpan]) -> None:
        by_id: dict[str, RecordedSpan] = {}
        for span in spans:
            by_id.setdefault(span.span_id, span)
        self._by_id = {span.span_id: span for span in sorted(by_id.values(), key=_in_time)}
        self._children: dict[str, list[RecordedSpan]] = {}
        for span in self._by_id.values():
            self._children.setdefault(span.parent_id, []).append(span)
        self.roots = self._find_roots()

    @property
    def spans(self) -> tuple[RecordedSpan, ...]:
        """In the order of their beginnings."""
        return tuple(self._by_id.values())

    def get(self, span_id: str) -> RecordedSpan | None:
        return self._by_id.get(span_id)

    def children(self, span: RecordedSpan) -> list[RecordedSpan]:
        return self._children.get(span.span_id, [])

    def walk(self, roots: Iterable[RecordedSpan]) -> Iterator[Branch]:
        """Depth first, children in the order of their beginnings."""
        ahead, seen = _branches(list(roots), -1, ()), set[str]()
        while ahead:
            branch = ahead.pop()
            if branch.span.span_id not in seen:
                seen.add(branch.span.span_id)
                yield branch
                ahead += _branches(self.children(branch.span), branch.depth, branch.last_of)

    def _find_roots(self) -> tuple[RecordedSpan, ...]:
        """Those without a parent here, and of each ring of parents the first."""
        roots = [span for span in self._by_id.values() if span.parent_id not in self._by_id]
        reached = {branch.span.span_id for branch in self.walk(roots)}
        for span in self._by_id.values():
            if span.span_id not in reached:
                roots.append(span)
                reached |= {branch.span.span_id for branch in self.walk([span])}
        return tuple(roots)


def _branches(spans: list[RecordedSpan], depth: int, above: tuple[bool, ...]) -> list[Branch]:
    """To be taken from the end."""
    told = above[1 - LEVELS_TOLD :]
    return [Branch(span, depth + 1, (*told, index == len(spans) - 1)) for index, span in enumerate(spans)][::-1]


def _in_time(span: RecordedSpan) -> tuple[int, int]:
    return span.begin_ns, -span.end_ns
