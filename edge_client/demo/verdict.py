"""Whether the demonstration went well, and if not, why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from edge_client.caller.wording import same_words
from edge_client.demo.conversation import Act, Asked
from edge_client.demo.pauses import GRACE_MS, Pause
from edge_client.trace.summary import Summary
from routing.record import PlacementRecord

LEAST_ANSWERED = 5
LEAST_EXPLAINED = 0.95  # of V2V, by named waits
TRIALS: frozenset[Act] = frozenset({"slowed", "killed", "bereft"})  # in which the cloud is in trouble
UNJUDGED: frozenset[Act] = frozenset({"killed", "barge-in"})  # what was understood there matters to nobody


def trials(asked: Sequence[Asked]) -> list[int]:
    """The numbers of the turns that show what trouble with the cloud costs, counted from 1."""
    return [number for number, each in enumerate(asked, 1) if each.act in TRIALS]


def verdict(asked: Sequence[Asked]) -> Iterator[str]:
    """What went wrong in the turns, as sentences. The barge-in is a bonus."""
    questions = [each for each in asked if each.act != "barge-in"]
    answered = sum(each.turn.answered for each in questions)
    if answered < LEAST_ANSWERED:
        yield f"expected at least {LEAST_ANSWERED} answered turns, got {answered}"
    for each in asked:
        if each.act in TRIALS and not each.turn.answered:
            yield f"expected an answer to {each.question.text!r} though the cloud was in trouble, got none"
        if each.act not in UNJUDGED and each.question.synthesised:
            yield from _misheard(each)


def _misheard(asked: Asked) -> Iterator[str]:
    if not same_words(asked.question.text, asked.turn.transcript):
        yield f"expected the words {asked.question.text!r}, the edge heard {asked.turn.transcript!r}"


def verdict_on_places(asked: Sequence[Asked], records: Mapping[str, PlacementRecord]) -> Iterator[str]:
    """Whether the turns went where they should, with a cloud."""
    if not any(each.turn.placed and "cloud" in each.turn.placed.backends for each in asked):
        yield "expected the cloud to answer at least one turn, it answered none"
    for each in asked:
        if each.act == "private":
            yield from _leaked(each, records.get(each.turn.turn_id or ""))


def _leaked(asked: Asked, record: PlacementRecord | None) -> Iterator[str]:
    if record is None:
        yield f"expected a record of the private turn {asked.question.text!r}, got none"
    elif record.left_the_device or not record.question.stays_here:
        yield f"expected {asked.question.text!r} to stay on the device, it went to {record.left_the_device}"


def verdict_on_pauses(pauses: Iterable[Pause]) -> Iterator[str]:
    """Whether the conversation went on."""
    for pause in pauses:
        if pause.too_long:
            yield f"expected no pause longer than the deadline and {GRACE_MS:.0f} ms, got one in {pause}"


def verdict_on_traces(asked: Iterable[Asked], summary: Summary) -> Iterator[str]:
    """Whether each answered turn has a trace that says where its time went."""
    traced = {turn.turn_id: turn for turn in summary.turns}
    for each in asked:
        turn = traced.get(each.turn.turn_id or "")
        if turn is None and each.turn.answered:
            yield f"expected a trace of {each.question.text!r} from its last sound to its answer's first, got none"
        elif turn and turn.explained < LEAST_EXPLAINED:
            yield f"expected {LEAST_EXPLAINED:.0%} of V2V to be explained, got {turn.explained:.1%} in {turn.turn_id}"
