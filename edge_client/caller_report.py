"""What a caller's own program measured of a turn, told over the data channel when the reply was heard."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerReport:
    """Moments are seconds since 1970 on the edge's clock: the caller has corrected them. None is not known.

    Args:
        speech_end: when the last sample of speech passed the microphone
        arrived: when the first packet of the reply arrived
        heard: when its first sample was heard, as far as the program can tell
        jitter_buffer_sec: how long the sound was kept back before it was played, part of the time up to ``heard``
        output_sec: what the way to the loudspeaker takes after ``heard``
        concealed_sec: sound of the reply that was made up
        clock_offset_sec: what was added to the caller's clock; ``clock_uncertainty_sec`` bounds its error
    """

    turn_id: str
    speech_end: float | None = None
    arrived: float | None = None
    heard: float | None = None
    jitter_buffer_sec: float | None = None
    output_sec: float | None = None
    concealed_sec: float | None = None
    packets_lost: int | None = None
    round_trip_sec: float | None = None
    clock_offset_sec: float | None = None
    clock_uncertainty_sec: float | None = None
