"""A turn of a trace: the stretch of time that a caller feels, and what it is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from edge_client.trace.recorded_span import RecordedSpan
from edge_client.trace.tree import Tree
from routing.errors import InvalidRequest
from routing.telemetry import names
from routing.telemetry.spans import GAP_NS

type Measured = Literal["caller", "edge", "in part"]  # by whose ears and clock

ROUNDING_NS: Final = 1_000  # moments are written in whole microseconds
HEDGED: Final = "hedged"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a turn, in nanoseconds since 1970, and the span it belongs to: None where nobody accounts for it."""

    begin_ns: int
    end_ns: int
    span: RecordedSpan | None = None

    @property
    def duration_ms(self) -> float:
        return (self.end_ns - self.begin_ns) / 1e6


@dataclass(frozen=True, slots=True)
class Attempt:
    """A reply that was asked of a backend.

    Args:
        span: from the asking to its end
        work: the span under which the work at it is found: itself, or the request to whoever is elsewhere
    """

    span: RecordedSpan
    work: RecordedSpan

    @property
    def is_remote(self) -> bool:
        return self.work.name == names.INFER_REQUEST

    @property
    def outcome(self) -> str:
        return str(self.span.attributes.get(names.ATTEMPT_OUTCOME, ""))

    @property
    def first_sound_ns(self) -> float | None:
        """When its first sound was there; None where nobody tells."""
        told = self.span.attributes.get(names.FIRST_SOUND_MS)
        if not isinstance(told, int | float) or (self.is_remote and self.span is self.work):
            return None
        return self.span.begin_ns + told * 1e6


def reach_ns(span: RecordedSpan) -> int:
    """Where a span ends. Each is written a little shorter than it was, so that no two of them touch."""
    return max(span.begin_ns, span.end_ns) + GAP_NS


class TracedTurn:
    """A ``voice.turn`` span with all below it."""

    def __init__(self, tree: Tree, span: RecordedSpan) -> None:
        self.tree = tree
        self.span = span
        self._children = tree.children(span)
        self.window = self._find_window()

    @classmethod
    def of(cls, tree: Tree, span_id: str) -> TracedTurn:
        """Raises:
        InvalidRequest: the trace holds no such span any more, for the file was begun anew.
        """
        span = tree.get(span_id)
        if span is None:
            raise InvalidRequest(f"expected the turn's span {span_id} where it was a moment ago, got another file")
        return cls(tree, span)

    @property
    def turn_id(self) -> str:
        return str(self.span.attributes.get(names.TURN_ID, self.span.span_id))

    @property
    def outcome(self) -> str:
        return str(self.span.attributes.get(names.OUTCOME, UNKNOWN))

    @property
    def target(self) -> str:
        """Who spoke."""
        return str(self.span.attributes.get(names.ROUTE_TARGET, UNKNOWN))

    @property
    def route(self) -> RecordedSpan | None:
        return self._last(names.ROUTE_DECIDE)

    @property
    def is_hedged(self) -> bool:
        """Whether more than one backend was asked."""
        return len({attempt.is_remote for attempt in self.attempts}) > 1

    @property
    def attempts(self) -> list[Attempt]:
        """What was asked of backends, here and elsewhere."""
        return [attempt for child in self._children for attempt in _attempts(self.tree, child)]

    @property
    def phases(self) -> list[RecordedSpan]:
        """In the order of their beginnings."""
        return [child for child in self._children if child.name in names.VOICE_TO_VOICE]

    @property
    def last_sample_ns(self) -> int | None:
        """When the user fell silent, as near to the user's mouth as was measured."""
        first = self._last(names.NETWORK_UPLINK) or self._last(names.ENDPOINT_WAIT)
        return first.begin_ns if first else None

    @property
    def measured(self) -> Measured:
        ends = [self._last(name) is not None for name in (names.NETWORK_UPLINK, names.FIRST_PLAYOUT)]
        return "caller" if all(ends) else "in part" if any(ends) else "edge"

    @property
    def told_v2v_ms(self) -> float | None:
        """What the turn says itself, in whole milliseconds."""
        told = self.span.attributes.get(names.V2V_MS)
        return float(told) if isinstance(told, int | float) else None

    def unattributed(self) -> tuple[Stretch, ...]:
        """What no phase accounts for, of the window."""
        if self.window is None:
            return ()
        return tuple(holes(self.window, ((span.begin_ns, reach_ns(span)) for span in self.phases)))

    def _find_window(self) -> Stretch | None:
        """From the user's last sample to the first sound; None where either is missing: typed, or never answered."""
        begin_ns = self.last_sample_ns
        last = self._last(names.FIRST_PLAYOUT) or self._last(names.FIRST_PACKET)
        if begin_ns is None or last is None or last.end_ns <= begin_ns:
            return None
        return Stretch(begin_ns, last.end_ns, self.span)

    def _last(self, name: str) -> RecordedSpan | None:
        """A user who pauses and goes on is silent for the last time at last."""
        return next((child for child in reversed(self._children) if child.name == name), None)


def is_generation(span: RecordedSpan) -> bool:
    """Whether it is a model's call; the model's name is a part of the span's."""
    return span.name.partition(" ")[0] == names.GENERATE


def _attempts(tree: Tree, child: RecordedSpan) -> list[Attempt]:
    if is_generation(child):
        return [Attempt(child, child)]
    if child.name != names.INFER_REQUEST:
        return []
    seen_from_here = [each for each in tree.children(child) if each.name == names.INFER_ATTEMPT]
    return [Attempt(each, child) for each in seen_from_here or [child]]


def holes(window: Stretch, covered: Iterable[tuple[int, int]]) -> Iterator[Stretch]:
    """What is left of a window. Less than the rounding of moments is nothing."""
    reached_ns = window.begin_ns
    for begin_ns, end_ns in (*sorted(covered), (window.end_ns, window.end_ns)):
        until_ns = min(begin_ns, window.end_ns)
        if until_ns - reached_ns > ROUNDING_NS:
            yield Stretch(reached_ns, until_ns)
        reached_ns = max(reached_ns, end_ns)


def lengths_ms(stretches: Iterable[Stretch]) -> Mapping[str, float]:
    """How long each name lasted in all, in the order of their first appearance."""
    lengths: dict[str, float] = {}
    for stretch in stretches:
        if stretch.span is not None:
            lengths[stretch.span.name] = lengths.get(stretch.span.name, 0.0) + stretch.duration_ms
    return lengths


def within(window: Stretch, span: RecordedSpan) -> Stretch:
    """The part of a span that lies in a window; it may be empty."""
    begin_ns = min(max(span.begin_ns, window.begin_ns), window.end_ns)
    return Stretch(begin_ns, max(begin_ns, min(reach_ns(span), window.end_ns)), span)
