"""A person at this machine as the caller: their own microphone and loudspeaker, measured like a recording."""

from __future__ import annotations

import time
from collections.abc import Callable

from edge_client.audio import Resampler
from edge_client.caller.client import Caller, Sound
from edge_client.caller.measure import spoken
from edge_client.caller.recorder import Arrival, Recorder
from edge_client.caller.report import TurnReport, report_turn
from edge_client.playout import Playout
from edge_client.soundcard import SOUNDCARD_RATE
from routing.turns import SPEECH_SAMPLE_RATE, AudioChunk, Samples

LONGEST_BUFFER_SEC = 0.12  # two clocks never agree: what is beyond this is dropped, and delay does not grow


class LiveSound:
    """Stands between a sound card and a call, which run on different clocks. All on the event loop."""

    def __init__(self) -> None:
        self.recorder = Recorder()  # what the microphone gave since the turn began
        self._outgoing = Playout(capacity_sec=LONGEST_BUFFER_SEC)
        self._incoming = Playout(capacity_sec=LONGEST_BUFFER_SEC)
        self._resampler = Resampler(SPEECH_SAMPLE_RATE, SOUNDCARD_RATE)

    @property
    def call_side(self) -> Sound:
        """What the call reads from and plays to."""
        return Sound(read=self._outgoing.read, play=self._play)

    def hear(self, samples: Samples) -> None:
        """The microphone's next samples at `SOUNDCARD_RATE`, captured until now."""
        begin = time.monotonic() - len(samples) / SOUNDCARD_RATE
        self.recorder.write(Arrival(begin, AudioChunk(samples, SOUNDCARD_RATE)))
        _write(self._outgoing, samples)

    def read(self, count: int) -> Samples:
        """The loudspeaker's next samples."""
        return self._incoming.read(count)

    def _play(self, samples: Samples) -> None:
        _write(self._incoming, self._resampler.feed(samples))


def _write(buffer: Playout, samples: Samples) -> None:
    if buffer.room:
        buffer.write(samples)


async def converse(call: Caller, sound: LiveSound, on_turn: Callable[[TurnReport], None]) -> None:
    """Report each turn after its reply, until the call ends."""
    while True:
        sound.recorder = Recorder()
        turn = call.listen()
        await call.replied()
        turn.speech = spoken(sound.recorder.arrivals, turn.recorder.arrivals)
        if turn.speech:  # what is said unasked, such as a timer's end, is no turn
            call.report(turn)
            on_turn(report_turn(turn.watch.transcript, turn.reply()))
