"""One turn of the caller: what was said and when, and what came back."""

from __future__ import annotations

from dataclasses import dataclass

from edge_client.caller.measure import Interval, Latency, measure, reply_sound
from edge_client.caller.recorder import Recorder
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


class SpokenTurn:
    """A turn in progress. Sound and events are written as they come; `reply` reads what came so far."""

    def __init__(self, *, interrupting: bool = False) -> None:
        self.watch = TurnWatch()
        self.recorder = Recorder()
        self.speech: Interval | None = None  # known when the last sample of speech has passed the microphone
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
        )
