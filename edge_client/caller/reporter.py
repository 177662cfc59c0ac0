"""The caller's side of what only an Antiphon edge understands: asking for its time, telling how a turn was heard."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from edge_client.caller.clock import CallerClock, ClockEstimate
from edge_client.caller.packets import PACKET_SEC, Packets

logger = logging.getLogger(__name__)

FIRST_PINGS = 5  # each after the answer to the one before; later on, one a turn
PING = "antiphon.clock.ping"
PONG = "antiphon.clock.pong"
REPORT = "antiphon.turn.report"

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardTurn:
    """A turn as it was for the caller. Moments are seconds of the caller's clock.

    Args:
        arrived: when the first packet of the sound came that was first heard; None where that cannot be told
        packets: what came since the turn began
    """

    turn_id: str
    speech_end: float
    arrived: float | None
    heard: float
    packets: Packets


class _Question(NamedTuple):
    client_ms: float
    sent: float


class Reporter:
    """Reports to a server that has answered a question for its time, and to no other. Any server is asked once.

    ``send`` takes client events; it raises nothing.
    """

    def __init__(self, send: Callable[[Json], None], clock: CallerClock) -> None:
        self._send = send
        self._clock = clock
        self._name = f"antiphon_{secrets.token_hex(4)}"  # how the ids of our events begin
        self._sent = 0
        self._asked: _Question | None = None  # the latest, until it is answered
        self._answers = 0

    @property
    def is_answered(self) -> bool:
        """Whether the server is an Antiphon edge, as far as it is known."""
        return self._answers > 0

    def begin(self, now: float) -> None:
        """Ask for the first time."""
        self._ask(now)

    def take(self, event: object, now: float) -> bool:
        """Look at what the server says; returns whether that was an answer to a reporter, and to nobody else."""
        match event:
            case {
                "type": "antiphon.clock.pong",
                "client_ms": int() | float() as sent,
                "server_ms": int() | float() as at,
            }:
                self._take_answer(sent, at, now)
                return True
            case {"type": "error", "error": {"event_id": str(event_id), **rest}} if event_id.startswith(self._name):
                logger.info("the server would not take an event of ours: %s", rest.get("message"))
                return True
            case {"type": "error", "error": {"message": str(message)}}:  # not every server says what it is about
                return PING in message and not self.is_answered
        return False

    def tell(self, turn: HeardTurn, now: float) -> bool:
        """Report a turn; returns whether there is anybody to report to."""
        estimate = self._clock.estimate(now)
        if estimate is None:
            return False
        self._say(REPORT, report_fields(turn, self._clock, estimate))
        self._ask(now)  # for the next one
        return True

    def _ask(self, now: float) -> None:
        self._asked = _Question(now * 1000, now)
        self._say(PING, {"client_ms": self._asked.client_ms})

    def _take_answer(self, client_ms: float, server_ms: float, now: float) -> None:
        asked = self._asked
        if asked is None or asked.client_ms != client_ms:
            return
        self._asked = None
        self._answers += 1
        self._clock.feed(asked.sent, now, server_ms)
        if self._answers < FIRST_PINGS:
            self._ask(now)

    def _say(self, type_: str, fields: Mapping[str, Any]) -> None:
        self._sent += 1
        self._send({"type": type_, "event_id": f"{self._name}_{self._sent}", **fields})


def report_fields(turn: HeardTurn, clock: CallerClock, estimate: ClockEstimate) -> Json:
    """The fields of ``antiphon.turn.report``."""
    moments = {"speech_end_ms": turn.speech_end, "arrived_ms": turn.arrived, "heard_ms": turn.heard}
    return {
        "turn_id": turn.turn_id,
        **{name: round(clock.edge_ms(moment, estimate), 3) for name, moment in moments.items() if moment is not None},
        "packets_lost": turn.packets.lost,
        "concealed_ms": round(turn.packets.concealed * PACKET_SEC * 1000),
        "round_trip_ms": round(estimate.round_trip_sec * 1000, 3),
        "clock": {
            "offset_ms": round(estimate.offset_sec * 1000, 3),
            "uncertainty_ms": round(estimate.uncertainty_sec * 1000, 3),
        },
    }
