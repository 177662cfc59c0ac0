"""What an edge counts: its turns, its connections, where turns were answered, and how the program itself is doing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from edge_client.loop_lag import LoopLagStatistics
from edge_client.realtime.guard import Reason
from edge_client.realtime.session_config import Json
from edge_client.turn_trace import TurnFigures, TurnOutcome
from edge_client.webrtc.opus import FRAME_SEC
from routing.breaker import BreakerState
from routing.record import PlacementRecord
from routing.telemetry import metrics
from routing.telemetry.attempt_record import AttemptFigures
from routing.telemetry.instruments import Instruments, Reading
from routing.telemetry.phase import Carrier
from routing.telemetry.process import Moment, observe_process
from routing.telemetry.reason_class import reason_class
from routing.turns import SPEECH_SAMPLE_RATE

type Move = Literal["ticket", "no ticket", "cut", "restored"]  # how a session left a draining edge, or came from one

NOBODY: Final = "none"  # the target of turns that nobody answered
REFUSALS: Final = (*get_args(Reason.__value__), "wrong_key", "origin", "body_too_slow", "body_too_large", "no_place")
STATES: Final[tuple[BreakerState, ...]] = ("closed", "half open", "open")  # by the number that stands for each
MOVES: Final[tuple[Move, ...]] = get_args(Move.__value__)
OUTCOMES: Final[tuple[str, ...]] = get_args(TurnOutcome.__value__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundTotals:
    """Seconds of sound over all connections since the program began.

    Args:
        played: sent to callers
        skipped: of it, what was left out because its time had passed
        concealed: of the callers' own, what was made up in the place of lost packets
    """

    played: float = 0.0
    skipped: float = 0.0
    concealed: float = 0.0

    @classmethod
    def of(cls, media: Json) -> SoundTotals:
        """From what `MediaTotals` tells."""
        playout, jitter = media.get("playout", {}), media.get("receiver", {}).get("jitter", {})
        return cls(
            played=playout.get("packets", 0) * FRAME_SEC,
            skipped=playout.get("skipped_frames", 0) * FRAME_SEC,
            concealed=jitter.get("concealed", 0) / SPEECH_SAMPLE_RATE,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeFigures:
    """How an edge is doing at one moment."""

    sessions: int
    places: int
    lag: LoopLagStatistics
    sound: SoundTotals
    circuits: Mapping[str, BreakerState] = field(default_factory=dict)


def circuits_of(routing: Json) -> dict[str, BreakerState]:
    """By backend, from what `Placements` tells."""
    return {name: told["circuit"] or "closed" for name, told in routing.get("backends", {}).items()}


class EdgeMetrics:
    """Counts for one edge, or for one of its workers.

    Args:
        targets: the names of the backends that may answer; a turn that comes to nothing is `NOBODY`'s
    """

    def __init__(self, instruments: Instruments, *, targets: Iterable[str] = ()) -> None:
        self._instruments = instruments
        self._figures: EdgeFigures | None = None
        self._ready: Moment | None = None
        self._concealed_out_sec = 0.0  # as callers tell
        self._observe()
        self._begin([*targets, NOBODY])

    def _begin(self, targets: Iterable[str]) -> None:
        """With nothing: what is absent before it happens first cannot be seen to grow."""
        self._instruments.add(metrics.UNDERRUNS, 0)
        for how in MOVES:
            self._instruments.add(metrics.SESSIONS_MOVED, 0, {"how": how})
        for reason in REFUSALS:
            self._instruments.add(metrics.REFUSED_REQUESTS, 0, {"reason": reason})
        for target in targets:
            for outcome in OUTCOMES:
                self._instruments.add(metrics.TURNS, 0, {"target": target, "outcome": outcome})

    # -- turns ---------------------------------------------------------------------------------------------------------

    def note_turn(self, figures: TurnFigures) -> None:
        """A turn is over."""
        target, carrier = {"target": figures.target}, figures.carrier
        self._instruments.add(metrics.TURNS, 1, target | {"outcome": figures.outcome}, carrier=carrier)
        if figures.v2v_sec is not None:
            labels = target | {"outcome": figures.outcome, "measured": figures.measured}
            self._instruments.record(metrics.VOICE_TO_VOICE, figures.v2v_sec, labels, carrier=carrier)
        self._note_waits(figures)
        self._note_sound(figures)

    def _note_waits(self, figures: TurnFigures) -> None:
        waits, carrier = figures.story.waits_ms(), figures.carrier
        if "ttfa" in waits:
            labels = {"target": figures.target}
            self._instruments.record(metrics.TIME_TO_FIRST_AUDIO, waits["ttfa"] / 1000, labels, carrier=carrier)
        if "endpoint_wait" in waits:
            reason = {"reason": figures.story.end_reason or "asked"}  # the client itself said that the turn was over
            self._instruments.record(metrics.ENDPOINT_DELAY, waits["endpoint_wait"] / 1000, reason, carrier=carrier)

    def _note_sound(self, figures: TurnFigures) -> None:
        if figures.story.interruption:
            noticed, silent = figures.story.interruption
            self._instruments.record(metrics.INTERRUPT_STOP, silent - noticed, carrier=figures.carrier)
        if figures.story.starved:
            self._instruments.add(metrics.UNDERRUNS, carrier=figures.carrier)
        self._concealed_out_sec += figures.concealed_sec or 0.0

    def note_connection(
        self, seconds: float, is_connected: bool, carrier: Carrier, pair_type: str | None = None
    ) -> None:
        """A connection came about after so many seconds, over such a pair of addresses, or was given up."""
        outcome = {"outcome": "connected" if is_connected else "failed"}
        self._instruments.record(metrics.CONNECT_DURATION, seconds, outcome, carrier=carrier)
        if is_connected and pair_type is not None:
            self._instruments.add(metrics.CONNECTIONS, 1, {"pair": pair_type}, carrier=carrier)

    def note_moved(self, how: Move) -> None:
        """A session has left this edge while it drains, or has come from another one."""
        self._instruments.add(metrics.SESSIONS_MOVED, 1, {"how": how})

    def note_refused(self, reason: str) -> None:
        """Somebody asked for something and was not let in."""
        self._instruments.add(metrics.REFUSED_REQUESTS, 1, {"reason": reason})

    # -- who answers ---------------------------------------------------------------------------------------------------

    def note_placed(self, record: PlacementRecord) -> None:
        """A turn was placed, and it is known what came of that."""
        carrier = {"traceparent": record.traceparent}
        labels = {"target": record.outcome.backend or NOBODY, "reason": reason_class(record.choice.reason)}
        self._instruments.add(metrics.DECISIONS, 1, labels, carrier=carrier)
        for name, expected_sec in record.choice.predicted_sec.items():
            waited_sec = record.waited_sec(name)
            if waited_sec is not None:
                off_sec, target = abs(waited_sec - expected_sec), {"target": name}
                self._instruments.record(metrics.PREDICTION_ERROR, off_sec, target, carrier=carrier)
        self._note_cost(record, carrier)

    def _note_cost(self, record: PlacementRecord, carrier: Carrier) -> None:
        regret_sec = record.regret_sec
        if regret_sec is not None:
            self._instruments.record(metrics.REGRET, regret_sec, carrier=carrier)
        for name, waste in record.outcome.waste.items():
            self._instruments.add(metrics.WASTE, waste.work_sec, {"target": name}, carrier=carrier)
        for switch in record.outcome.switches:
            labels = {"target": switch.backend, "reason": reason_class(switch.why)}
            self._instruments.add(metrics.SWITCHES, 1, labels, carrier=carrier)

    def note_attempt(self, figures: AttemptFigures) -> None:
        """A model of this machine answered, or tried to."""
        model, carrier = {"model": figures.model}, figures.carrier
        labels = model | {"outcome": figures.outcome}
        self._instruments.record(metrics.REQUEST_DURATION, figures.duration_sec, labels, carrier=carrier)
        if figures.counted and figures.first_sec is not None:
            self._instruments.record(metrics.TIME_TO_FIRST_TOKEN, figures.first_sec, model, carrier=carrier)

    # -- the program ---------------------------------------------------------------------------------------------------

    def show(self, figures: EdgeFigures) -> None:
        """How the edge is doing now. It stays what is told until the next time: readers come on threads of theirs.

        The first time is when it is ready.
        """
        self._ready = self._ready or Moment.now()
        self._figures = figures

    def _observe(self) -> None:
        self._instruments.observe(metrics.SESSIONS, lambda: (Reading(each.sessions) for each in self._shown()))
        self._instruments.observe(metrics.CAPACITY, lambda: (Reading(each.places) for each in self._shown()))
        self._instruments.observe(metrics.LOOP_LAG, self._lags)
        self._instruments.observe(metrics.PLAYED, lambda: (Reading(each.sound.played) for each in self._shown()))
        self._instruments.observe(metrics.SKIPPED, lambda: (Reading(each.sound.skipped) for each in self._shown()))
        self._instruments.observe(metrics.CONCEALED, self._concealed)
        self._instruments.observe(metrics.CIRCUIT, self._circuits)
        self._instruments.observe(metrics.START_DURATION, self._start)
        observe_process(self._instruments)

    def _shown(self) -> Iterator[EdgeFigures]:
        if self._figures is not None:
            yield self._figures

    def _lags(self) -> Iterator[Reading]:
        for each in self._shown():
            lags = {"50": each.lag.p50_sec, "99": each.lag.p99_sec, "100": each.lag.worst_sec}
            yield from (Reading(lag_sec, {"percentile": percentile}) for percentile, lag_sec in lags.items())

    def _circuits(self) -> Iterator[Reading]:
        for each in self._shown():
            yield from (Reading(STATES.index(state), {"target": name}) for name, state in each.circuits.items())

    def _start(self) -> Iterator[Reading]:
        """Read where it is looked at, which may wait for a file."""
        start_sec = self._ready.since_start() if self._ready else None
        if start_sec is not None:
            yield Reading(start_sec)

    def _concealed(self) -> Iterator[Reading]:
        for each in self._shown():
            yield Reading(each.sound.concealed, {"direction": "in"})
            yield Reading(self._concealed_out_sec, {"direction": "out"})
