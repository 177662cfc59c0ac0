"""Who answers a turn: a pure function of what is known when the turn is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from routing.latency import Distribution

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


def worth_sec(traits: Traits) -> float:
    """How many seconds of waiting an answer from such a backend is worth, its price taken off."""
    return traits.quality_sec - traits.cost_sec


def choose(policy: PolicyName, question: Question, prospects: Sequence[Prospect], device: DeviceState) -> Choice:
    """Decide. Where nobody can answer, the first of ``prospects`` is chosen all the same, and the reason says so."""
    raise NotImplementedError
