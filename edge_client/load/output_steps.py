"""When the parts of a reply came: the time per output step after the first, at the caller.

A step is one ``delta`` event of the protocol. Over a WebSocket those with sound count: a server sends them as fast as
it makes them, so that their pace is the server's own, and sound is made in real time where TPOT is no longer than what
one of them lasts (80 ms for models whose frames come at 12.5 Hz). Over WebRTC sound is paced by the clock and says
nothing, so the deltas of the reply's words count in its place. TPOT is the time from the first step to the last one,
divided by their number less one: as MLPerf's LoadGen has it, for tokens. A reply of one step has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

WORDS: Final = ("response.output_audio_transcript.delta", "response.output_text.delta")


class OutputSteps:
    """Follows the events of one turn. Moments are seconds of one clock."""

    def __init__(self) -> None:
        self._sound: list[float] = []
        self._words: list[float] = []
        self._ends: list[float] = []

    def feed(self, event: Mapping[str, Any], now: float) -> None:
        """An event has come."""
        match event.get("type"):
            case "response.output_audio.delta":
                self._sound.append(now)
            case str(kind) if kind in WORDS:
                self._words.append(now)
            case "input_audio_buffer.speech_stopped":
                self._ends.append(now)

    @property
    def count(self) -> int:
        return len(self._steps)

    @property
    def tpot_sec(self) -> float | None:
        """Time per output step after the first."""
        steps = self._steps
        return (steps[-1] - steps[0]) / (len(steps) - 1) if len(steps) > 1 else None

    @property
    def _steps(self) -> list[float]:
        return self._sound or self._words

    def ttfa_sec(self, heard_at: float | None) -> float | None:
        """From the last word of the server, before ``heard_at``, that the user has stopped. None without one."""
        if heard_at is None:
            return None
        before = [end for end in self._ends if end <= heard_at]
        return heard_at - before[-1] if before else None
