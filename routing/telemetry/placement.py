"""Where a turn went and why, as the span ``route.decide``: what was known, what was chosen, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from routing.policy import Prospect, Question
from routing.record import PlacementRecord
from routing.telemetry import names
from routing.telemetry.phase import Attribute, Carrier, Phase


def decision_phase(record: PlacementRecord) -> Phase:
    """The decision, as long as it took; written when the turn is over, for only then it is known what came of it.

    It is a failure where nobody could answer.
    """
    nobody = record.outcome.backend is None and record.outcome.ended == "failed"
    return Phase(
        name=names.ROUTE_DECIDE,
        begin=record.decided_at,
        end=record.decided_at + record.decided_sec,
        attributes={**_turn(record), **_inputs(record), **_choice(record), **_outcome(record)},
        error="nobody could answer" if nobody else None,
    )


def parent_of(record: PlacementRecord) -> Carrier:
    """The turn's own span; empty where nobody traces."""
    return {"traceparent": record.traceparent} if record.trace_id else {}


def _turn(record: PlacementRecord) -> dict[str, Attribute]:
    return {
        names.SESSION_ID: record.session_id,
        names.CONVERSATION_ID: record.session_id,
        names.TURN_ID: record.turn_id,
        names.TURN_INDEX: record.index,
    }


# -- what was known ----------------------------------------------------------------------------------------------------


def _inputs(record: PlacementRecord) -> dict[str, Attribute]:
    attributes: dict[str, Attribute] = {
        names.ROUTE_QUESTION: tuple(_wants(record.question)),
        names.SPEECH_SEC: record.question.speech_sec,
        names.DEVICE_LOAD: record.device.load,
        names.DEVICE_BATTERY: record.device.battery,
        names.ROUTE_WORDS_WAIT_MS: _ms(record.decided_after_sec),
    }
    for prospect in record.prospects:
        attributes |= _prospect(prospect)
    return attributes


def _wants(question: Question) -> Iterator[str]:
    """What kind of question it is, and none of its words."""
    wants = {
        "private": question.stays_here,
        "tools": question.needs_tools,
        "script": question.is_script,
        "knowledge": question.wants_knowledge,
        "long answer": question.wants_long_answer,
    }
    return (want for want, is_so in wants.items() if is_so)


def _prospect(prospect: Prospect) -> dict[str, Attribute]:
    """Network and queue are told of those for whom there are any."""
    name, is_remote = prospect.name, prospect.traits.is_remote
    return {
        _of(names.ROUTE_READY, name, unit=""): prospect.is_ready,
        _of(names.ROUTE_FAILURE, name, unit=""): prospect.failure,
        _of(names.ROUTE_RTT, name): _ms(prospect.rtt_sec) if is_remote else None,
        _of(names.ROUTE_QUEUE_WAIT, name): _ms(prospect.queue_wait_sec) if is_remote else None,
    }


# -- what was chosen ---------------------------------------------------------------------------------------------------


def _choice(record: PlacementRecord) -> dict[str, Attribute]:
    choice = record.choice
    return {
        names.ROUTE_POLICY: record.policy,
        names.ROUTE_FIRST: choice.first or None,
        names.ROUTE_SECOND: choice.second,
        names.ROUTE_REASON: choice.reason,
        names.ROUTE_PATIENCE_MS: _ms(choice.patience_sec),
        **_each(names.ROUTE_ESTIMATE, choice.predicted_sec),
        **{_of(names.ROUTE_WHY_NOT, name, unit=""): why_not for name, why_not in choice.passed_over.items()},
    }


# -- what came of it ---------------------------------------------------------------------------------------------------


def _outcome(record: PlacementRecord) -> dict[str, Attribute]:
    """Arrivals count from the turn's end, as the estimates do: 0 for what was there before."""
    outcome = record.outcome
    arrivals = {name: record.waited_sec(name) for name in outcome.arrivals}
    return {
        names.ROUTE_TARGET: outcome.backend,
        names.ROUTE_ENDED: outcome.ended,
        names.ROUTE_FIRST_SOUND_MS: _ms(outcome.first_sound_sec),
        names.ROUTE_REGRET_MS: _ms(record.regret_sec),
        names.ROUTE_OPENED: outcome.opened,
        names.ROUTE_SWITCHES: tuple(
            f"{switch.backend} for {switch.instead_of}: {switch.why}" for switch in outcome.switches
        ),
        **_each(names.ROUTE_ARRIVAL, arrivals),
        **_each(names.ROUTE_WASTE, {name: waste.work_sec for name, waste in outcome.waste.items()}),
    }


def _each(prefix: str, seconds: Mapping[str, float | None]) -> dict[str, Attribute]:
    return {_of(prefix, name): _ms(value) for name, value in seconds.items()}


def _of(prefix: str, name: str, *, unit: str = "_ms") -> str:
    return f"{prefix}{name}{unit}"


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(1000 * seconds)
