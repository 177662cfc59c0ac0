"""What became of the turns of one worker: who answered them, and what is known of each who may."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from edge_client.realtime.session_config import Json
from routing.contender import Contender
from routing.record import PlacementRecord

USUAL_SPEECH_SEC = 2.0  # of a question, to tell how soon it would be answered


class Placements:
    """Counts by backend. Words are none of them."""

    def __init__(self, contenders: Sequence[Contender]) -> None:
        self._contenders = tuple(contenders)
        self._answered = Counter[str]()
        self._relieved = Counter[str]()
        self._unanswered = 0

    def add(self, record: PlacementRecord) -> None:
        """A turn is over."""
        outcome = record.outcome
        self._relieved.update(switch.instead_of for switch in outcome.switches)
        if outcome.backend is not None:
            self._answered[outcome.backend] += 1
        elif outcome.ended == "failed":
            self._unanswered += 1

    def statistics(self, now: float) -> Json:
        """Whole numbers add up over workers."""
        backends = {contender.name: self._of(contender, now) for contender in self._contenders}
        return {"unanswered": self._unanswered, "backends": backends}

    def _of(self, contender: Contender, now: float) -> Json:
        prospect = contender.outlook.prospect(USUAL_SPEECH_SEC, now)
        response, circuit = prospect.response, contender.outlook.circuit(now)
        return {
            "answered": self._answered[contender.name],  # turns
            "relieved": self._relieved[contender.name],  # turns that another one took over
            "why_not": prospect.why_not,  # None while it may be asked
            "circuit": None if circuit == "closed" else circuit,
            "round_trip_ms": _ms(prospect.rtt_sec),
            "jitter_ms": _ms(prospect.jitter_sec),
            "queue_wait_ms": _ms(prospect.queue_wait_sec),
            "predicted_ms": {"p50": _ms(response.quantile(0.5)), "p90": _ms(response.quantile(0.9))},
            "failure": round(prospect.failure, 4),
            "evidence": round(prospect.evidence, 2),
        }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
