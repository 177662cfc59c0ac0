"""When packets leave: every 20 ms, soon after the caller's own come in."""

from __future__ import annotations

from collections import deque

import numpy as np

from edge_client.webrtc.opus import FRAME_SEC
from edge_client.webrtc.opus_packet import RTP_RATE

FRAME_TICKS = round(FRAME_SEC * RTP_RATE)  # 960
LONGEST_BURST_SEC = 2 * FRAME_SEC  # being later than this is a stall, and not caught up with

# A turn is decided when a packet of the caller's was heard. A sender that is due just before that makes the reply wait
# for the next tick; one that is due so much later sends it at once. Decoding, the voice detector and the decision fit.
LEAD_SEC = 0.005

MOVE_STEP_SEC = 0.0025  # the shortest stretch that an Opus decoder can fill
MOVE_TICKS = round(MOVE_STEP_SEC * RTP_RATE)  # 120
MOVE_INTERVAL_SEC = 5.0  # clocks that run apart by 100 ppm need a step in 25 s
LOOK_INTERVAL_SEC = 0.5

ARRIVALS_KEPT = 100  # two seconds
FEWEST_ARRIVALS = 25
OLDEST_ARRIVAL_SEC = 3.0
CLUSTER_SEC = 0.005  # packets that come within so much of the 20 ms come regularly ...
CLUSTER_SHARE = 0.7  # ... when it is so great a part of them


class Arrivals:
    """Where in each 20 ms the caller's packets come, if they come regularly."""

    def __init__(self) -> None:
        self._times = deque[float](maxlen=ARRIVALS_KEPT)

    def add(self, now: float) -> None:
        self._times.append(now)

    def phase_sec(self, now: float) -> float | None:
        """Where the first of most packets come, between 0 and `FRAME_SEC`; None where that cannot be told."""
        recent = np.array([time for time in self._times if now - time < OLDEST_ARRIVAL_SEC])
        return _densest(np.sort(recent % FRAME_SEC)) if len(recent) >= FEWEST_ARRIVALS else None


def _densest(phases: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float | None:
    """Where the stretch of `CLUSTER_SEC` begins that holds most of the sorted ``phases``, which go in a circle."""
    circle = np.concatenate((phases, phases + FRAME_SEC))
    counts = np.searchsorted(circle, phases + CLUSTER_SEC, "right") - np.arange(len(phases))
    best = int(np.argmax(counts))
    return float(phases[best]) if counts[best] >= CLUSTER_SHARE * len(phases) else None


class Pace:
    """When each frame is due, and at which RTP timestamp. Time is passed in; nothing here waits.

    A frame that is a little late is sent at once, and the next is due as if it had been in time. After a stall the
    timestamps move on with the clock, so that the listener hears a gap and not a reply that stays late for good.

    In silence the ticks move to where the caller's packets come, always by making one silence a little longer: a
    packet cannot be taken back, and two must not overlap.
    """

    def __init__(self) -> None:
        self._due: float | None = None
        self._timestamp = 0
        self._arrivals = Arrivals()
        self._may_move_at = 0.0
        self.stalls = 0
        self.skipped_frames = 0
        self.worst_lateness_sec = 0.0
        self.moves = 0

    def wait_sec(self, now: float) -> float:
        """How long until the next frame is due."""
        return 0.0 if self._due is None else max(self._due - now, 0.0)

    def heard_at(self, now: float) -> None:
        """A packet of the caller's came."""
        self._arrivals.add(now)

    def begin(self, now: float, *, silent: bool = False) -> int:
        """The next frame leaves now; returns its RTP timestamp. ``silent``: the one after it may come a little late."""
        due = now if self._due is None else self._due
        self.worst_lateness_sec = max(self.worst_lateness_sec, now - due)
        skipped = self._skip(now - due)
        timestamp = self._timestamp + skipped * FRAME_TICKS
        self._due = due + (skipped + 1) * FRAME_SEC
        self._timestamp = timestamp + FRAME_TICKS
        if silent and now >= self._may_move_at:
            self._move(self._due, now)
        return timestamp

    def _skip(self, lateness: float) -> int:
        if lateness <= LONGEST_BURST_SEC:
            return 0
        skipped = int(lateness / FRAME_SEC)
        self.stalls += 1
        self.skipped_frames += skipped
        return skipped

    def _move(self, due: float, now: float) -> None:
        self._may_move_at = now + LOOK_INTERVAL_SEC
        phase = self._arrivals.phase_sec(now)
        if phase is None:
            return
        later = (phase + LEAD_SEC - due) % FRAME_SEC
        if not MOVE_STEP_SEC <= later <= FRAME_SEC - MOVE_STEP_SEC:
            return
        steps = round(later / MOVE_STEP_SEC)
        self._due = due + steps * MOVE_STEP_SEC
        self._timestamp += steps * MOVE_TICKS
        self._may_move_at = now + MOVE_INTERVAL_SEC
        self.moves += 1
