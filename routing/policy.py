"""Who answers a turn: a pure function of what is known when the turn is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from routing.errors import BackendUnavailable
from routing.latency import LEVELS, Distribution

type PolicyName = Literal["device", "cloud", "latency", "hedged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a backend is like, as far as nobody needs to measure it.

    Args:
        is_remote: what is said leaves the device
        quality_sec: how many seconds its better answers are worth waiting for
        cost_sec: how many seconds of waiting its price is worth
        languages: the languages it understands, as "en"; None for all
    """

    is_remote: bool
    quality_sec: float = 0.0
    cost_sec: float = 0.0
    tools: bool = True  # calls the caller's tools
    scripts: bool = True  # says a given text to the letter
    knowledge: bool = False  # may be asked what only a larger model knows
    long_answers: bool = False
    languages: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a turn asks of whoever answers it."""

    speech_sec: float
    stays_here: bool = False  # privacy class `device_only`
    needs_tools: bool = False
    is_script: bool = False
    wants_knowledge: bool = False
    wants_long_answer: bool = False
    language: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """How the machine at the edge is doing. ``load`` is 1 where every core is busy; ``battery`` None on mains."""

    load: float = 0.0
    battery: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What one backend promises for one turn, when it was asked ``asked_ago_sec`` before.

    Args:
        response: from the question to the first sound (or, for text, the first words), network and queue included
        failure: how likely no answer comes at all
        rtt_sec, jitter_sec, queue_wait_sec: what of that is network and queue, for those who read about it
        is_ready: its first sound is here already
        why_not: why it cannot be asked at all: "circuit open", "at capacity", "not connected"; None where it can
        evidence: how many recent turns the estimate stands on, older ones counting less
    """

    name: str
    traits: Traits
    response: Distribution
    failure: float = 0.0
    rtt_sec: float = 0.0
    jitter_sec: float = 0.0
    queue_wait_sec: float = 0.0
    asked_ago_sec: float = 0.0
    is_ready: bool = False
    why_not: str | None = None
    evidence: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Who shall answer.

    Args:
        first: who may speak as soon as it can
        second: who speaks if ``first`` has not begun ``patience_sec`` after the turn's end; None for nobody
        patience_sec: 0 where ``first`` is not waited for
        reason: in words that an operator understands
        predicted_sec: for each backend that could answer, the expected wait from the turn's end to its first sound
        passed_over: why each of the others could not
    """

    first: str
    second: str | None = None
    patience_sec: float = 0.0
    reason: str
    predicted_sec: Mapping[str, float] = field(default_factory=dict)
    passed_over: Mapping[str, str] = field(default_factory=dict)


# -- weighing --------------------------------------------------------------------------------------------------------

NET_PATIENCE_SEC = 5.0  # nobody believes in an answer after this; no patience is longer
WANTED_SEC = 0.6  # what an answer is worth to one who asks what only a larger model knows, or for a long answer
WANTED_STRETCH = 1.5  # how far beyond its usual bound the patience for such an answer goes
FAILURE_SEC = 1.0  # what a failure costs, until another has taken over
STRAIN_SEC = 0.2  # what work is worth that a machine with every core busy, or with an empty battery, need not do
BUSY_LOAD = 0.7  # below it, work at the edge disturbs nobody
LOW_BATTERY = 0.2


def worth_sec(traits: Traits) -> float:
    """How many seconds of waiting an answer from such a backend is worth, its price taken off."""
    return traits.quality_sec - traits.cost_sec


class _Candidate(NamedTuple):
    """A prospect that can answer, in seconds from the turn's end."""

    prospect: Prospect
    worth_sec: float  # what its answer is worth to this question, on this device
    expected_sec: float  # until its first sound, should it come

    @property
    def name(self) -> str:
        return self.prospect.name

    @property
    def burden_sec(self) -> float:
        """What choosing it costs, everything counted as waiting."""
        return self.expected_sec - self.worth_sec + FAILURE_SEC * self.failure

    @property
    def failure(self) -> float:
        return 0.0 if self.prospect.is_ready else self.prospect.failure

    @property
    def latest_sec(self) -> float:
        """Its bad case: its sound is here by then, in 99 turns of 100."""
        return self.prospect.response.values[-1] - self.prospect.asked_ago_sec


def _weigh(prospect: Prospect, question: Question, device: DeviceState) -> _Candidate:
    traits = prospect.traits
    worth = worth_sec(traits)
    if question.wants_knowledge and traits.knowledge:
        worth += WANTED_SEC
    if question.wants_long_answer and traits.long_answers:
        worth += WANTED_SEC
    if not traits.is_remote:
        worth -= _strain_sec(device)
    return _Candidate(prospect, worth, 0.0 if prospect.is_ready else _expected_sec(prospect))


def _strain_sec(device: DeviceState) -> float:
    strain = (min(device.load, 1.0) - BUSY_LOAD) / (1 - BUSY_LOAD) if device.load > BUSY_LOAD else 0.0
    if device.battery is not None and device.battery < LOW_BATTERY:
        strain = max(strain, 1 - device.battery / LOW_BATTERY)
    return STRAIN_SEC * strain


def _expected_sec(prospect: Prospect) -> float:
    """The mean of what remains of the response: each stretch between two quantiles counts with its middle.

    One that is later than its bad case says nothing about itself any more: as long again as from its median to there.
    """
    waited, values = prospect.asked_ago_sec, prospect.response.values
    if waited >= values[-1]:
        return values[-1] - values[_MEDIAN]
    total = weight = previous_level = 0.0
    previous_value = values[0]
    for level, value in zip(LEVELS, values, strict=True):
        if value > waited:
            share = level - previous_level
            if previous_value < waited:
                share *= (value - waited) / (value - previous_value)
                previous_value = waited
            total += share * ((value + previous_value) / 2 - waited)
            weight += share
        previous_value, previous_level = value, level
    rest = 1 - previous_level
    return (total + rest * (previous_value - waited)) / (weight + rest)


def _chance(prospect: Prospect, within_sec: float) -> float:
    """How likely its first sound comes within so long, though it has not come yet; it may never come."""
    came = _share(prospect.response.values, prospect.asked_ago_sec)
    return _scale(prospect.failure, came) * (
        _share(prospect.response.values, prospect.asked_ago_sec + within_sec) - came
    )


def _scale(failure: float, came: float) -> float:
    """What a share of all answers is as a share of those that may come still, lost ones among them."""
    answered = 1 - failure
    return answered / (failure + answered * (1 - came))


def _share(values: tuple[float, ...], seconds: float) -> float:
    """The share of answers that take at most so long; straight between quantiles, and nothing beyond them."""
    if seconds < values[0]:
        return 0.0
    previous_value = previous_level = 0.0
    for level, value in zip(LEVELS, values, strict=True):
        if seconds < value:
            return previous_level + (level - previous_level) * (seconds - previous_value) / (value - previous_value)
        previous_value, previous_level = value, level
    return previous_level


# -- deciding --------------------------------------------------------------------------------------------------------


class _Decision(NamedTuple):
    first: _Candidate
    second: _Candidate | None
    patience_sec: float
    reason: str


def choose(policy: PolicyName, question: Question, prospects: Sequence[Prospect], device: DeviceState) -> Choice:
    """Decide who answers; nothing here takes its time or looks at a clock.

    What must not be comes first: a turn that stays on the device goes to no remote backend whatever happens, and tools,
    scripts and languages go to those who know them. Where nobody can answer, the first of those that privacy allows is
    chosen all the same, one that can at least be asked before others, and the reason says so.

    Raises:
        BackendUnavailable: there is nobody at all, or nobody on the device for a turn that must stay there.
    """
    able, passed_over = _sift(question, prospects)
    if not able:
        return _for_want_of_better(question, prospects, passed_over)
    candidates = [_weigh(prospect, question, device) for prospect in able]
    wanted = question.wants_knowledge or question.wants_long_answer
    first, second, patience_sec, reason = (
        _only(candidates[0], question, passed_over) if len(able) == 1 else _DECIDE[policy](candidates, wanted)
    )
    return Choice(
        first=first.name,
        second=second.name if second else None,
        patience_sec=patience_sec,
        reason=reason,
        predicted_sec={candidate.prospect.name: candidate.expected_sec for candidate in candidates},
        passed_over=passed_over,
    )


def _sift(question: Question, prospects: Sequence[Prospect]) -> tuple[list[Prospect], dict[str, str]]:
    able: list[Prospect] = []
    passed_over: dict[str, str] = {}
    for prospect in prospects:
        obstacle = _obstacle(question, prospect)
        if obstacle is None:
            able.append(prospect)
        else:
            passed_over[prospect.name] = obstacle
    return able, passed_over


def _obstacle(question: Question, prospect: Prospect) -> str | None:
    """Why it cannot answer."""
    traits = prospect.traits
    if question.stays_here and traits.is_remote:
        return "the turn stays on the device"
    if prospect.why_not is not None:
        return prospect.why_not
    if question.needs_tools and not traits.tools:
        return "calls no tools"
    if question.is_script and not traits.scripts:
        return "says no given text"
    if traits.languages is not None and question.language is not None and question.language not in traits.languages:
        return f"does not know the language {question.language}"
    return None


def _for_want_of_better(question: Question, prospects: Sequence[Prospect], passed_over: Mapping[str, str]) -> Choice:
    allowed = [prospect for prospect in prospects if not (question.stays_here and prospect.traits.is_remote)]
    if not allowed:
        where = "on this device, which the turn must not leave" if question.stays_here else "here"
        raise BackendUnavailable(f"there is nobody {where} to answer")
    first = next((prospect for prospect in allowed if prospect.why_not is None), allowed[0])
    return Choice(first=first.name, reason=f"nobody able: {_told(passed_over)}", passed_over=passed_over)


def _only(candidate: _Candidate, question: Question, passed_over: Mapping[str, str]) -> _Decision:
    reason = f"only one able: {_told(passed_over)}" if passed_over else "only backend"
    return _Decision(candidate, None, 0.0, "private: the turn stays on the device" if question.stays_here else reason)


def _told(passed_over: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {why}" for name, why in passed_over.items())


def _device(candidates: Sequence[_Candidate], _wanted: bool) -> _Decision:
    here = [candidate for candidate in candidates if not candidate.prospect.traits.is_remote]
    if here:
        return _Decision(_least(here), None, 0.0, "policy device")
    return _Decision(_least(candidates), None, 0.0, "policy device: nobody here is able")


def _cloud(candidates: Sequence[_Candidate], _wanted: bool) -> _Decision:
    away = [candidate for candidate in candidates if candidate.prospect.traits.is_remote]
    first = _least(away or candidates)
    reason = "policy cloud" if away else "policy cloud: no remote one is able"
    return _Decision(first, _soonest(candidates, but=first), _unless_ready(first, NET_PATIENCE_SEC), reason)


def _latency(candidates: Sequence[_Candidate], _wanted: bool) -> _Decision:
    """The least wait by expectation; the next one speaks where it is later than its own bad case."""
    first = _least(candidates)
    second = _soonest(candidates, but=first)
    patience_sec = _unless_ready(first, min(max(first.latest_sec, 0.0), NET_PATIENCE_SEC))
    head = "soonest" if first.expected_sec <= second.expected_sec else "worth the difference"
    return _Decision(first, second, patience_sec, f"{head}: {_arrivals(first, second)}")


def _hedged(candidates: Sequence[_Candidate], wanted: bool) -> _Decision:
    """The best answer that is worth its wait, with the surest of the others held against its being late.

    The best is tried first; where waiting for it does not pay, the next best.
    """
    by_worth = sorted(candidates, key=_worth, reverse=True)
    for first in by_worth[:-1]:
        second = _soonest(candidates, but=first)
        if first.prospect.is_ready:
            return _Decision(first, second, 0.0, "ready: the best answer is here")
        patience_sec = _patience_sec(first, second, wanted)
        if patience_sec > 0:
            chance = _chance(first.prospect, patience_sec)
            return _Decision(first, second, patience_sec, f"worth waiting: {_odds(first, chance, patience_sec)}")
    return _at_once(by_worth[0], candidates)


def _at_once(best: _Candidate, candidates: Sequence[_Candidate]) -> _Decision:
    """Nobody is worth waiting for: whoever comes first speaks, most likely the soonest."""
    soonest = _soonest(candidates)
    if soonest is not best:
        reason = f"not worth waiting: {_arrivals(best, soonest)}"
        return _Decision(soonest, best, 0.0, reason)
    second = _soonest(candidates, but=best)
    return _Decision(best, second, 0.0, f"soonest: {_arrivals(best, second)}")


def _patience_sec(first: _Candidate, second: _Candidate, wanted: bool) -> float:
    """How long after the turn's end ``second``'s answer is held for ``first``'s; 0 where that does not pay.

    A bound comes first. No turn waits longer than it would on the slower of its ways: past the time at which
    ``second`` alone would have spoken in 19 turns of 20, or ``first`` in its bad case, nothing is held. So the tail of
    the pair is no longer than the shorter of their tails. Why not in 99 of 100: what is rarer than one in twenty is
    known badly from some dozens of turns, and all turns that are waited for in vain end at the bound.

    Within the bound, an answer that is worth some seconds more is waited for as long as that pays: each further moment
    costs its length in all the turns that still wait, and earns those seconds in the ones that it ends. As the share
    of answers is straight between quantiles, the best moment to give up is at one of them, or at the bound.
    """
    gain, bound = first.worth_sec - second.worth_sec, _bound_sec(first, second, wanted)
    if gain <= 0 or bound <= 0:
        return 0.0
    begin = second.expected_sec  # until then nothing is held, and waiting is free
    patience = _best_moment(first.prospect, gain, begin, bound) if begin < bound else 0.0
    if not patience and begin:  # it may come sooner than expected, and is then held at once
        patience = _best_moment(first.prospect, gain, 0.0, bound)
    return min(patience + first.prospect.jitter_sec, bound) if patience else 0.0


def _best_moment(prospect: Prospect, gain_sec: float, begin: float, bound: float) -> float:
    """When to give up an answer that is waited for from ``begin`` on, at the latest at ``bound``; 0 for at once."""
    waited, values = prospect.asked_ago_sec, prospect.response.values
    came = _share(values, waited)
    scale = _scale(prospect.failure, came)
    at, chance = begin, scale * (_share(values, waited + begin) - came)
    balance = least = best = 0.0
    for level, value in zip(LEVELS, values, strict=True):
        until, then = value - waited, scale * (level - came)
        if until <= begin:
            continue
        if is_last := until > bound:
            until, then = bound, chance + (then - chance) * (bound - at) / (until - at)
        balance += (until - at) * (1 - (chance + then) / 2) - gain_sec * (then - chance)
        if balance < least:
            least, best = balance, until
        if is_last:
            break
        at, chance = until, then
    return best


def _bound_sec(first: _Candidate, second: _Candidate, wanted: bool) -> float:
    latest = second.prospect.response.values[_P95] - second.prospect.asked_ago_sec
    if wanted and first.worth_sec - second.worth_sec >= WANTED_SEC:
        latest += (WANTED_STRETCH - 1) * second.prospect.response.values[-1]
    return min(latest, first.latest_sec + first.prospect.jitter_sec, NET_PATIENCE_SEC)


def _least(candidates: Sequence[_Candidate]) -> _Candidate:
    return min(candidates, key=_burden)


def _soonest(candidates: Sequence[_Candidate], *, but: _Candidate | None = None) -> _Candidate:
    return min((candidate for candidate in candidates if candidate is not but), key=_risk)


def _unless_ready(candidate: _Candidate, seconds: float) -> float:
    return 0.0 if candidate.prospect.is_ready else seconds


def _worth(candidate: _Candidate) -> tuple[float, float]:
    """Of equals, the sooner is worth more."""
    return candidate.worth_sec, -candidate.expected_sec


def _burden(candidate: _Candidate) -> float:
    return candidate.burden_sec


def _risk(candidate: _Candidate) -> float:
    """How soon, when a failure costs as well."""
    return candidate.expected_sec + FAILURE_SEC * candidate.failure


def _odds(candidate: _Candidate, chance: float, patience_sec: float) -> str:
    return f"{candidate.name} is better, {chance:.0%} likely within {_ms(patience_sec)}"


def _arrivals(*candidates: _Candidate) -> str:
    return ", ".join(f"{candidate.name} {_expectation(candidate)}" for candidate in candidates)


def _expectation(candidate: _Candidate) -> str:
    return "ready" if candidate.prospect.is_ready else f"in {_ms(candidate.expected_sec)}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


_MEDIAN = LEVELS.index(0.5)
_P95 = LEVELS.index(0.95)
_DECIDE: Mapping[PolicyName, Callable[[Sequence[_Candidate], bool], _Decision]] = {
    "device": _device,
    "cloud": _cloud,
    "latency": _latency,
    "hedged": _hedged,
}
