"""Where the time went, over all turns of some files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from edge_client.quantiles import Tail, tail_of
from edge_client.trace.archive import Archive, Omissions
from edge_client.trace.critical_path import critical_path, hidden_work
from edge_client.trace.traced_turn import HEDGED, Measured, TracedTurn, lengths_ms, within
from routing.telemetry import names

ALL = "all"
DISAGREEMENT_MS = 5.0  # what a turn says of itself is rounded, and spans are cut to microseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedTurn:
    """What counts of a turn with V2V, in milliseconds.

    Args:
        number: the turn's place in time, from 1, among all turns of the files
        phases: the children of the turn that lie between the user's last sample and the first sound
        critical: of each moment, who was waited for: the parts add up to V2V less what is unattributed
        hidden: work at the answer while the end of the turn was not decided yet
        told_ms: V2V as the turn says itself
    """

    number: int
    turn_id: str
    trace_id: str
    target: str
    hedged: bool
    outcome: str
    measured: Measured
    v2v_ms: float
    unattributed_ms: float
    phases: Mapping[str, float] = field(default_factory=dict)
    critical: Mapping[str, float] = field(default_factory=dict)
    hidden: Mapping[str, float] = field(default_factory=dict)
    told_ms: float | None = None

    @property
    def explained(self) -> float:
        """The part of V2V that named phases account for, from 0 to 1."""
        return 1 - self.unattributed_ms / self.v2v_ms

    @property
    def contradicts_itself(self) -> bool:
        return self.told_ms is not None and abs(self.told_ms - self.v2v_ms) > DISAGREEMENT_MS


@dataclass(frozen=True, slots=True)
class Row:
    """A name over the turns in which it took time. ``share`` is its part of the V2V of all turns of the group."""

    name: str
    turns: int
    tail: Tail
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Turns that have something in common."""

    name: str
    turns: int
    v2v: Tail
    least_explained: float
    unattributed: Tail
    unattributed_share: float
    phases: tuple[Row, ...]
    critical: tuple[Row, ...]
    hidden: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All turns of some files.

    Args:
        turns: those with V2V
        without: how many have none, by their outcome: typed, dropped, or answered by nobody
        unrooted: traces whose turn is in none of the files: not over yet, or another file has it
    """

    turns: tuple[ExplainedTurn, ...]
    without: Mapping[str, int]
    unrooted: int
    omissions: Omissions
    groups: tuple[Group, ...]

    @property
    def least_explained(self) -> ExplainedTurn | None:
        return min(self.turns, key=lambda turn: turn.explained, default=None)


def figures_of(turn: TracedTurn, *, number: int) -> ExplainedTurn | None:
    """None without V2V."""
    if turn.window is None:
        return None
    return ExplainedTurn(
        number=number,
        turn_id=turn.turn_id,
        trace_id=turn.span.trace_id,
        target=turn.target,
        hedged=turn.is_hedged,
        outcome=turn.outcome,
        measured=turn.measured,
        v2v_ms=turn.window.duration_ms,
        unattributed_ms=sum(stretch.duration_ms for stretch in turn.unattributed()),
        phases=lengths_ms(within(turn.window, span) for span in turn.phases),
        critical=_by_kind(lengths_ms(critical_path(turn))),
        hidden=_by_kind(lengths_ms(hidden_work(turn))),
        told_ms=turn.told_v2v_ms,
    )


def summarise(archive: Archive) -> Summary:
    figures: list[ExplainedTurn] = []
    without: Counter[str] = Counter()
    for number, mark in enumerate(archive.turns, 1):
        turn = TracedTurn.of(archive.trace(mark.trace_id), mark.span_id)
        each = figures_of(turn, number=number)
        if each is None:
            without[turn.outcome] += 1
        else:
            figures.append(each)
    return Summary(
        turns=tuple(figures),
        without=dict(without),
        unrooted=archive.unrooted,
        omissions=archive.omissions,
        groups=groups_of(figures),
    )


def groups_of(turns: Sequence[ExplainedTurn]) -> tuple[Group, ...]:
    """All of them, then by who spoke, the most frequent first; at last those for which several were asked."""
    if not turns:
        return ()
    targets = [target for target, _ in Counter(turn.target for turn in turns).most_common()]
    groups = {target: [turn for turn in turns if turn.target == target] for target in targets}
    groups[HEDGED] = [turn for turn in turns if turn.hedged]
    return (_group(ALL, turns), *(_group(name, some) for name, some in groups.items() if some))


def _group(name: str, turns: Sequence[ExplainedTurn]) -> Group:
    v2v_ms = [turn.v2v_ms for turn in turns]
    unattributed_ms = [turn.unattributed_ms for turn in turns]
    return Group(
        name=name,
        turns=len(turns),
        v2v=_tail(v2v_ms),
        least_explained=min(turn.explained for turn in turns),
        unattributed=_tail(unattributed_ms),
        unattributed_share=sum(unattributed_ms) / sum(v2v_ms),
        phases=_rows(turns, lambda turn: turn.phases, order=names.VOICE_TO_VOICE),
        critical=_rows(turns, lambda turn: turn.critical),
        hidden=_rows(turns, lambda turn: turn.hidden),
    )


def _rows(
    turns: Sequence[ExplainedTurn],
    parts: Callable[[ExplainedTurn], Mapping[str, float]],
    *,
    order: Sequence[str] = (),
) -> tuple[Row, ...]:
    """In the given order, or the largest first."""
    whole_ms = sum(turn.v2v_ms for turn in turns)
    lengths = {name: values_of(turns, name, parts) for name in _names(map(parts, turns))}
    rows = [Row(name, len(ms), _tail(ms), sum(ms) / whole_ms) for name, ms in lengths.items()]
    if order:
        return tuple(sorted(rows, key=lambda row: order.index(row.name)))
    return tuple(sorted(rows, key=lambda row: -row.share))


def values_of(
    turns: Iterable[ExplainedTurn], name: str, parts: Callable[[ExplainedTurn], Mapping[str, float]]
) -> list[float]:
    """How long it took, in each turn where it happened."""
    return [parts(turn)[name] for turn in turns if name in parts(turn)]


def _names(parts: Iterable[Mapping[str, float]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in parts for name in part))


def _tail(values: Sequence[float]) -> Tail:
    tail = tail_of(values)
    assert tail is not None
    return tail


def _by_kind(lengths: Mapping[str, float]) -> Mapping[str, float]:
    """Attempts of all models under one name."""
    kinds: dict[str, float] = {}
    for name, length_ms in lengths.items():
        head = name.partition(" ")[0]
        kind = names.GENERATE if head == names.GENERATE else name
        kinds[kind] = kinds.get(kind, 0.0) + length_ms
    return kinds
