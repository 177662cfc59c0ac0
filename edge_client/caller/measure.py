"""How long a caller waited: voice to voice, as the caller's own ears and clock tell it.

The speech of a turn is known exactly: it is the caller's own. Its end is the last audible sample of the
recording, and the moment that sample passed the microphone. The reply begins with its first audible sample, at the
moment a player without any buffer would have played it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import NamedTuple

import numpy as np

from edge_client.caller.loudness import AUDIBLE_RMS, Span, audible_spans, speech_threshold
from edge_client.caller.recorder import Arrival, joined
from routing.turns import AudioChunk

PLAYER_BUFFER_SEC = 0.04  # what a player holds back against jitter when starvation is judged
SHORTEST_STALL_SEC = 1e-4  # less is the rounding of clocks
BREATH_SEC = 0.1  # silence kept on both sides of a reply that is saved


class Interval(NamedTuple):
    """Two moments of the caller's clock, in seconds."""

    begin: float
    end: float

    @property
    def duration(self) -> float:
        return self.end - self.begin


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """What one turn was like for the caller. All times in seconds."""

    v2v_sec: float | None  # last sample of speech -> first audible sample of the reply; None without such a reply
    early: bool = False  # something was said while the caller still spoke
    cut_sec: float | None = None  # a barge-in: first sample of speech -> the old reply is silent
    reply_sec: float = 0.0  # first to last audible sample of the reply
    longest_pause_sec: float = 0.0  # silence inside the reply
    starved_sec: float = 0.0  # time a player with a small buffer had nothing to play inside the reply
    gaps: int = 0  # how often that happened

    @property
    def missed(self) -> bool:
        """Nothing was ever said to this turn."""
        return self.v2v_sec is None and not self.early


def measure(speech: Interval, arrivals: Sequence[Arrival], *, interrupting: bool = False) -> Latency:
    """Judge one turn by what was heard since before its ``speech`` began.

    ``interrupting`` says that the caller spoke into a reply on purpose, so that sound during the speech is that reply
    being cut and no early answer.
    """
    heard = list(_heard(arrivals))
    before, after = _divide(heard, speech)
    cut = max(0.0, before[-1].when.end - speech.begin) if interrupting and before else None
    early = bool(before) and not interrupting
    if not after:
        return Latency(v2v_sec=None, early=early, cut_sec=cut)
    waits = stalls(_frames_of(after, arrivals))
    return Latency(
        v2v_sec=after[0].when.begin - speech.end,
        early=early,
        cut_sec=cut,
        reply_sec=after[-1].when.end - after[0].when.begin,
        longest_pause_sec=max((b.when.begin - a.when.end for a, b in pairwise(after)), default=0.0),
        starved_sec=sum(waits),
        gaps=len(waits),
    )


def played(arrivals: Sequence[Arrival]) -> list[Interval]:
    """When each frame sounds in a player without a buffer.

    A frame that comes while the one before still sounds waits for it, as all but the first do that a receiver hands
    over together after a gap. A lag built up like that is lost again in silence, which any player may leave out:
    silence delays nothing.
    """
    times: list[Interval] = []
    free_at = float("-inf")
    for arrival in arrivals:
        begin = max(arrival.at, free_at)
        times.append(Interval(begin, begin + arrival.chunk.duration_sec))
        free_at = begin + arrival.chunk.duration_sec if arrival.audible else begin
    return times


def stalls(arrivals: Sequence[Arrival], *, buffer_sec: float = PLAYER_BUFFER_SEC) -> list[float]:
    """How long a player that keeps ``buffer_sec`` in hand would have waited, each time that it ran dry."""
    waits: list[float] = []
    due = arrivals[0].at + buffer_sec if arrivals else 0.0
    for arrival in arrivals:
        late = max(0.0, arrival.at - due)
        waits += [late] if late > SHORTEST_STALL_SEC else []
        due += late + arrival.chunk.duration_sec
    return waits


def first_arrival(heard: float, arrivals: Sequence[Arrival], *, after: float) -> float | None:
    """When the first packet came of the sound that was first audible at ``heard``: a voice often begins faintly.

    Nothing that came before ``after`` belongs to it. None where the packets came in no order that tells.
    """
    before = [arrival for arrival in arrivals if after <= arrival.at <= heard]
    leading = list(takewhile(lambda arrival: arrival.is_sound, reversed(before)))
    return leading[-1].at if leading else None


def reply_sound(speech: Interval, arrivals: Sequence[Arrival]) -> AudioChunk | None:
    """What was said after the speech was over, with a breath of silence around it; None where nothing was."""
    _, after = _divide(list(_heard(arrivals)), speech)
    if not after:
        return None
    rate = arrivals[0].chunk.sample_rate
    breath = int(BREATH_SEC * rate)
    begin = max(0, after[0].span.begin - breath)
    return AudioChunk(joined(arrivals)[begin : after[-1].span.end + breath], rate)


def spoken(said: Sequence[Arrival], heard: Sequence[Arrival]) -> Interval | None:
    """The speech that the first reply in ``heard`` answers, found in what the microphone gave; None without any.

    For callers who speak freely: what they say is not known beforehand, and is told from the room by its loudness.
    """
    if not said:
        return None
    threshold = speech_threshold(joined(said), said[0].chunk.sample_rate)
    speech = [sound.when for sound in _heard(said, threshold)]
    for reply in _heard(heard):
        before = [when for when in speech if when.end <= reply.when.begin]
        if before:
            return Interval(before[0].begin, before[-1].end)
    return None


# -- sound on the clock ----------------------------------------------------------------------------------------------


class _Sound(NamedTuple):
    """An audible stretch: where it is in the joined recording, and when it was heard."""

    span: Span
    when: Interval


def _heard(arrivals: Sequence[Arrival], threshold: float = AUDIBLE_RMS) -> Iterator[_Sound]:
    if not arrivals:
        return
    rate = arrivals[0].chunk.sample_rate
    times = played(arrivals)
    starts = np.cumsum([0, *(len(a.chunk.samples) for a in arrivals)])
    for span in audible_spans(joined(arrivals), rate, threshold=threshold):
        first, last = (int(np.searchsorted(starts, i, "right")) - 1 for i in (span.begin, span.end - 1))
        begin = times[first].begin + (span.begin - int(starts[first])) / rate
        end = times[last].begin + (span.end - int(starts[last])) / rate
        yield _Sound(span, Interval(begin, end))


def _divide(heard: Sequence[_Sound], speech: Interval) -> tuple[list[_Sound], list[_Sound]]:
    """What began before the speech was over, and what began after it."""
    before = [sound for sound in heard if sound.when.begin < speech.end and sound.when.end > speech.begin]
    after = [sound for sound in heard if sound.when.begin >= speech.end]
    return before, after


def _frames_of(sounds: Sequence[_Sound], arrivals: Sequence[Arrival]) -> Sequence[Arrival]:
    ends = np.cumsum([len(a.chunk.samples) for a in arrivals])
    first = int(np.searchsorted(ends, sounds[0].span.begin, "right"))
    last = int(np.searchsorted(ends, sounds[-1].span.end - 1, "right"))
    return arrivals[first : last + 1]
