"""One turn of the caller: what was said and when, and what came back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_client.caller.measure import Interval, Latency, first_arrival, measure, reply_sound
from edge_client.caller.packets import Packets
from edge_client.caller.recorder import Recorder
from edge_client.caller.reporter import HeardTurn
from edge_client.caller.watch import ServerNumbers, TurnWatch
from routing.turns import AudioChunk


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reply:
    """What the caller got for one turn."""

    transcript: str
    answer: str
    latency: Latency
    numbers: ServerNumbers
    sound: AudioChunk | None  # None where nothing was heard
    errors: tuple[str, ...] = ()
    heard_at: float | None = None  # when the first sample of the reply was heard, on the caller's clock
    traced: Mapping[str, Any] | None = None  # the turn's trace, as an Antiphon edge tells it


class SpokenTurn:
    """A turn in progress. Sound and events are written as they come; `reply` reads what came so far.

    ``packets`` is what had come through when it began.
    """

    def __init__(self, *, interrupting: bool = False, packets: Packets | None = None) -> None:
        self.watch = TurnWatch()
        self.recorder = Recorder()
        self.speech: Interval | None = None  # known when the last sample of speech has passed the microphone
        self.judged = False  # whether it is known if there is anything to report
        self.reported = False
        self._packets = packets or Packets()
        self._interrupting = interrupting

    def reply(self) -> Reply:
        """What came back so far, measured. Call it after the speech is over."""
        assert self.speech is not None, "the caller still speaks"
        arrivals = self.recorder.arrivals
        latency = measure(self.speech, arrivals, interrupting=self._interrupting)
        return Reply(
            transcript=self.watch.transcript,
            answer=self.watch.answer,
            latency=latency,
            numbers=self.watch.numbers,
            sound=reply_sound(self.speech, arrivals),
            errors=tuple(self.watch.errors),
            heard_at=None if latency.v2v_sec is None else self.speech.end + latency.v2v_sec,
            traced=self.watch.traced,
        )

    def heard(self, packets: Packets) -> HeardTurn | None:
        """What there is to report of it, if ``packets`` have come through by now.

        None where the beginning of the reply was not heard: one that came too early, or never, or of a foreign server.
        """
        turn_id = self.watch.numbers.turn_id
        if self.speech is None or turn_id is None:
            return None
        arrivals, end = self.recorder.arrivals, self.speech.end
        latency = measure(self.speech, arrivals, interrupting=self._interrupting)
        if latency.v2v_sec is None or latency.early:
            return None
        heard = end + latency.v2v_sec
        return HeardTurn(
            turn_id=turn_id,
            speech_end=end,
            arrived=first_arrival(heard, arrivals, after=end),
            heard=heard,
            packets=packets - self._packets,
        )
