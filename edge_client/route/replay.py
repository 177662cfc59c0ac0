"""What another policy would have done with the same turns.

The decision is made again from the same inputs. What would have come of it is known where the answers that matter were
seen. Where one was not, because nobody waited for it, it is drawn from what was predicted for it, given that it had not
come by then. The draw is the same each time, and honest in sum: quantiles over many turns mean something, a single
drawn turn does not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, Literal, NamedTuple

from rich.console import Group as Lines
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from edge_client.quantiles import Tail, tail_of
from edge_client.route.explain import ABSENT, ms, placement
from edge_client.route.summary import NOBODY, known, mean, speaker
from routing.errors import BackendUnavailable
from routing.policy import Choice, PolicyName, Prospect, choose, worth_sec
from routing.record import PlacementRecord

type Source = Literal["as it was", "recorded", "estimated"]

AS_IT_WAS: Source = "as it was"
RECORDED: Source = "recorded"
ESTIMATED: Source = "estimated"
NEVER = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A turn under another policy.

    Args:
        backend: who would have spoken; "nobody" where no answer would have come
        wait_sec: from the turn's end to the first sound; None for none
        source: "as it was" where the same was decided, "recorded" where the answers that matter were seen, or
            "estimated" where one of them was drawn from its prediction
    """

    record: PlacementRecord
    choice: Choice
    backend: str
    wait_sec: float | None
    source: Source


def replay(records: Sequence[PlacementRecord], policy: PolicyName) -> tuple[Replayed, ...]:
    """Decide each turn again."""
    return tuple(_replay(record, policy) for record in records)


def _replay(record: PlacementRecord, policy: PolicyName) -> Replayed:
    choice = _choose(record, policy)
    if _is_same(choice, record.choice):
        backend, wait_sec, source = speaker(record), record.outcome.first_sound_sec, AS_IT_WAS
    else:
        waits = {prospect.name: _wait(record, prospect) for prospect in record.prospects}
        backend, wait_sec, needed = _first_to_speak(choice, waits)
        source = RECORDED if all(waits[name].is_recorded for name in needed) else ESTIMATED
    return Replayed(record=record, choice=choice, backend=backend, wait_sec=wait_sec, source=source)


def _choose(record: PlacementRecord, policy: PolicyName) -> Choice:
    try:
        return choose(policy, record.question, record.prospects, record.device)
    except BackendUnavailable as error:
        return Choice(first=NOBODY, reason=str(error))


def _is_same(one: Choice, other: Choice) -> bool:
    return (one.first, one.second, one.patience_sec) == (other.first, other.second, other.patience_sec)


# -- what would have come --------------------------------------------------------------------------------------------


class _Wait(NamedTuple):
    """From the turn's end to the first sound of a backend; `NEVER` where it would not have come."""

    seconds: float
    is_recorded: bool


def _wait(record: PlacementRecord, prospect: Prospect) -> _Wait:
    seen, abandoned = record.waited_sec(prospect.name), record.abandoned_after_sec(prospect.name)
    if seen is not None or prospect.is_ready:
        return _Wait(seen or 0.0, is_recorded=True)
    if abandoned is None and prospect.name in record.outcome.arrivals:
        return _Wait(NEVER, is_recorded=True)  # it was asked, and failed
    waited_sec = max(abandoned or 0.0, prospect.asked_ago_sec)
    chance = Random(f"{record.turn_id} {prospect.name}")
    if chance.random() < _failure(prospect, waited_sec):
        return _Wait(NEVER, is_recorded=False)
    rest_sec = prospect.response.after(waited_sec).quantile(chance.random())
    return _Wait(max(waited_sec + rest_sec - prospect.asked_ago_sec, 0.0), is_recorded=False)


def _failure(prospect: Prospect, waited_sec: float) -> float:
    """How likely nothing comes any more: the likelier, the longer nothing came."""
    may_come = (1 - prospect.failure) * (1 - prospect.response.probability_within(waited_sec))
    return prospect.failure / (prospect.failure + may_come) if prospect.failure else 0.0


class _Spoken(NamedTuple):
    backend: str
    wait_sec: float | None
    needed: tuple[str, ...]  # whose waits this stands on


def _first_to_speak(choice: Choice, waits: Mapping[str, _Wait]) -> _Spoken:
    """Who speaks, as the router goes about it: the first until patience ends, then who is there, at last anybody.

    When a failure was noticed is not known: it is taken to be at once, and nobody waits for patience to end.
    """
    first = _seconds(waits, choice.first)
    if first <= choice.patience_sec:
        return _Spoken(choice.first, first, (choice.first,))
    starts = {choice.first: first}
    if choice.second is not None:
        patience_sec = 0.0 if first == NEVER else choice.patience_sec
        starts[choice.second] = max(_seconds(waits, choice.second), patience_sec)
    if min(starts.values()) == NEVER:
        starts |= {name: _seconds(waits, name) for name in choice.predicted_sec}
    backend = min(starts, key=lambda name: starts[name])
    if starts[backend] == NEVER:
        return _Spoken(NOBODY, None, _known(starts, waits))
    return _Spoken(backend, starts[backend], _known(starts, waits))


def _seconds(waits: Mapping[str, _Wait], name: str) -> float:
    return waits[name].seconds if name in waits else NEVER


def _known(starts: Mapping[str, float], waits: Mapping[str, _Wait]) -> tuple[str, ...]:
    return tuple(name for name in starts if name in waits)


# -- side by side ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """All turns under one policy.

    Args:
        shares: of the turns, by who spoke
        burden_sec: the mean of each wait less what the answer was worth: smaller is better
    """

    policy: str
    turns: int
    unanswered: int
    wait: Tail | None
    shares: Mapping[str, float]
    burden_sec: float | None


def sides(turns: Sequence[Replayed], policy: PolicyName) -> tuple[Side, Side]:
    """As it was, and as it would have been."""
    was = [(turn.record, speaker(turn.record), turn.record.outcome.first_sound_sec) for turn in turns]
    would = [(turn.record, turn.backend, turn.wait_sec) for turn in turns]
    recorded = ", ".join(dict.fromkeys(turn.record.policy for turn in turns))
    return _side(f"{recorded} (recorded)", was), _side(f"{policy} (replayed)", would)


def _side(policy: str, turns: Sequence[tuple[PlacementRecord, str, float | None]]) -> Side:
    spoke = [backend for _, backend, _ in turns]
    return Side(
        policy=policy,
        turns=len(turns),
        unanswered=sum(wait is None for _, _, wait in turns),
        wait=tail_of(known(wait for _, _, wait in turns)),
        shares={name: spoke.count(name) / len(spoke) for name in sorted(set(spoke))},
        burden_sec=mean([burden for turn in turns if (burden := _burden_sec(*turn)) is not None]),
    )


def _burden_sec(record: PlacementRecord, backend: str, wait_sec: float | None) -> float | None:
    prospect = record.prospect(backend)
    return None if wait_sec is None or prospect is None else wait_sec - worth_sec(prospect.traits)


def report(turns: Sequence[Replayed], policy: PolicyName, *, last: int) -> RenderableType:
    """Each of the ``last`` turns (0 for all) and all of them in sum, both ways."""
    shown = turns[-last:] if last else turns
    estimated = sum(turn.source == ESTIMATED for turn in turns)
    note = (
        f"{estimated} of {len(turns)} waits are estimated, from what was predicted for answers that nobody waited for"
    )
    return Lines(turns_table(shown, policy, first_number=len(turns) - len(shown) + 1), sides_table(turns, policy), note)


def turns_table(turns: Sequence[Replayed], policy: PolicyName, *, first_number: int = 1) -> Table:
    """One row per turn: what was, and what would have been."""
    table = Table(title="Turns, waits in ms", title_justify="left")
    table.add_column("#", justify="right", style="dim")
    table.add_column("recorded", no_wrap=True)
    table.add_column("wait", justify="right")
    table.add_column(policy, no_wrap=True)
    table.add_column("wait", justify="right")
    table.add_column("differs", justify="right")
    table.add_column("known from", no_wrap=True)
    table.add_column("reason", ratio=1, overflow="fold")
    for number, turn in enumerate(turns, first_number):
        table.add_row(str(number), *_row(turn))
    return table


def _row(turn: Replayed) -> tuple[str, ...]:
    was, would = turn.record.outcome.first_sound_sec, turn.wait_sec
    differs = ABSENT if was is None or would is None else f"{(would - was) * 1000:+.0f}"
    source = turn.source if turn.source != ESTIMATED else "[yellow]estimated[/]"
    ways = (placement(turn.record), ms(was), escape(turn.backend), ms(would))
    return (*ways, differs, source, escape(turn.choice.reason))


def sides_table(turns: Sequence[Replayed], policy: PolicyName) -> Table:
    """Both policies below each other."""
    table = Table(title="In sum, in ms", title_justify="left")
    table.add_column("policy")
    for heading in ("turns", "unanswered", *(f"wait {name}" for name in Tail._fields), "wait less worth"):
        table.add_column(heading, justify="right")
    table.add_column("answered by")
    for side in sides(turns, policy):
        wait = [ms(value) for value in side.wait] if side.wait else [ABSENT] * len(Tail._fields)
        shares = ", ".join(f"{escape(name)} {share:.0%}" for name, share in side.shares.items())
        table.add_row(side.policy, str(side.turns), str(side.unanswered), *wait, ms(side.burden_sec), shares)
    return table


def as_json(turns: Sequence[Replayed], policy: PolicyName) -> dict[str, Any]:
    """The same as plain values, times in seconds."""
    was, would = sides(turns, policy)
    return {
        "policy": policy,
        "estimated": sum(turn.source == ESTIMATED for turn in turns),
        "recorded": asdict(was),
        "replayed": asdict(would),
        "turns": [_turn_as_json(turn) for turn in turns],
    }


def _turn_as_json(turn: Replayed) -> dict[str, Any]:
    outcome = turn.record.outcome
    return {
        "turn_id": turn.record.turn_id,
        "recorded": {"backend": outcome.backend, "wait_sec": outcome.first_sound_sec},
        "replayed": {"backend": turn.backend, "wait_sec": turn.wait_sec, "source": turn.source},
        "choice": asdict(turn.choice),
    }
