"""What everybody waited for, at each moment between the user's last sample and the first sound of the reply.

At every moment one phase of the turn is under way: the one that began last, where there are several. It is what is
waited for, but for two cases.

- While the answer is awaited (``answer.wait``) somebody works at it: then it is the deepest span of that work. Of
  several attempts the one that was told in the end counts, until its first sound is there. If that is held back, the
  wait is for whoever was given more time: another attempt without a sound, the one that ends last. Work elsewhere that
  has gone on to ``stream``, without its sound having arrived here, is on its way: then it is the attempt itself. Where
  nobody works, it is ``answer.wait`` itself.
- Any other phase may have parts of its own, such as ``endpoint.judge``: then it is the deepest of them.

Of children that overlap, the one with the deepest span below it is waited for; of equals the one that ends last. What
is done while the turn's end is not yet decided (``endpoint.wait``) is work ahead of time, that nobody waits for; it is
told apart, by the same rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from edge_client.trace.recorded_span import RecordedSpan
from edge_client.trace.traced_turn import Attempt, Stretch, TracedTurn, reach_ns, within
from edge_client.trace.tree import Tree
from routing.telemetry import names

TOLD = "told"


def critical_path(turn: TracedTurn) -> tuple[Stretch, ...]:
    """Who was waited for, without holes but for those that nobody accounts for. Empty without V2V."""
    if turn.window is None:
        return ()
    stretches = []
    for begin_ns, end_ns in _moments(turn, turn.window):
        phase = _latest(span for span in turn.phases if _covers(span, begin_ns))
        if phase is not None:
            stretches.append(Stretch(begin_ns, end_ns, _waited_for(turn, phase, begin_ns)))
    return tuple(_joined(stretches))


def hidden_work(turn: TracedTurn) -> tuple[Stretch, ...]:
    """What was made of the answer while the turn's end was not decided yet: nobody waited for it."""
    waits = [span for span in turn.phases if span.name == names.ENDPOINT_WAIT]
    if turn.window is None or not waits:
        return ()
    wait = within(turn.window, waits[-1])
    stretches = []
    for begin_ns, end_ns in _moments(turn, wait):
        work = _work(turn, begin_ns)
        if work is not None:
            stretches.append(Stretch(begin_ns, end_ns, work))
    return tuple(_joined(stretches))


def _waited_for(turn: TracedTurn, phase: RecordedSpan, at_ns: int) -> RecordedSpan:
    if phase.name == names.ANSWER_WAIT:
        return _work(turn, at_ns) or phase
    return _chain(turn.tree, phase, at_ns)[-1]


def _work(turn: TracedTurn, at_ns: int) -> RecordedSpan | None:
    """The deepest span of the attempt that the answer hangs on; None where all have their first sound."""
    under_way = [attempt for attempt in turn.attempts if _covers(attempt.span, at_ns)]
    chains = [(attempt, _chain(turn.tree, attempt.work, at_ns)) for attempt in under_way]
    unheard = [(attempt, chain) for attempt, chain in chains if not _is_heard(attempt, chain, at_ns)]
    if not unheard:
        return None
    attempt, chain = max(unheard, key=lambda each: (each[0].outcome == TOLD, each[0].span.end_ns))
    return attempt.span if _is_streaming(chain) else chain[-1]


def _is_heard(attempt: Attempt, chain: Sequence[RecordedSpan], at_ns: int) -> bool:
    """Whether its first sound is there. Who does not say so has made it before the rest of the reply."""
    first_sound_ns = attempt.first_sound_ns
    return _is_streaming(chain) if first_sound_ns is None else at_ns >= first_sound_ns


def _is_streaming(chain: Sequence[RecordedSpan]) -> bool:
    return any(span.name == names.STREAM for span in chain)


def _chain(tree: Tree, span: RecordedSpan, at_ns: int) -> list[RecordedSpan]:
    """From a span down to the deepest one below it that is under way."""
    best, ahead, seen = [span], [[span]], {span.span_id}
    while ahead:
        chain = ahead.pop()
        best = max(best, chain, key=lambda each: (len(each), each[-1].end_ns))
        for child in tree.children(chain[-1]):
            if _covers(child, at_ns) and child.span_id not in seen:
                seen.add(child.span_id)
                ahead.append([*chain, child])
    return best


def _covers(span: RecordedSpan, at_ns: int) -> bool:
    return span.begin_ns <= at_ns < reach_ns(span)


def _latest(spans: Iterable[RecordedSpan]) -> RecordedSpan | None:
    return max(spans, key=lambda span: (span.begin_ns, span.end_ns), default=None)


def _moments(turn: TracedTurn, window: Stretch) -> Iterator[tuple[int, int]]:
    """The window, cut wherever a span begins or ends."""
    subtree = [branch.span for branch in turn.tree.walk([turn.span])]
    cuts = {window.begin_ns, window.end_ns}
    for span in subtree:
        cuts |= {at_ns for at_ns in (span.begin_ns, reach_ns(span)) if window.begin_ns < at_ns < window.end_ns}
    return pairwise(sorted(cuts))


def _joined(stretches: Sequence[Stretch]) -> Iterator[Stretch]:
    """Neighbours of one span as one."""
    current: Stretch | None = None
    for stretch in stretches:
        if current is not None and current.span is stretch.span and current.end_ns == stretch.begin_ns:
            current = Stretch(current.begin_ns, stretch.end_ns, stretch.span)
            continue
        if current is not None:
            yield current
        current = stretch
    if current is not None:
        yield current
