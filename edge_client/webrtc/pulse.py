"""Whether a caller is still there, told from the datagrams that come. Time is passed in, in seconds."""

from __future__ import annotations

from typing import Literal

HOLD_SEC = 0.5  # a steady caller who is quiet for longer does not hear us either
STEADY_GAP_SEC = 0.45  # the longest pause of a sender of sound; silence may be sent as one packet in 400 ms
LATE_SEC = 0.05  # quiet for twice the last pause and this is no cut yet: one packet of a sparse silence may be lost
STEADY_SEC = 1.0  # how long a caller must have sent like that, before quiet means anything
RETURN_SEC = 0.06  # what a link held back comes within this time after the first datagram
SOUNDS_PER_SEC = 50

# alive:     what was sent until now was heard, or nothing can be told about this caller
# waiting:   no news since the last look, and no reason to worry
# missing:   what is sent now would not be heard
# returning: the caller is back, and it is not clear yet what became of what was sent last
# lost:      the caller is back, and what was sent since the last "alive" was lost
# delayed:   the caller is back, and it was only late
type Sign = Literal["alive", "waiting", "missing", "returning", "lost", "delayed"]


class Pulse:
    """The signs of life of one caller, looked at whenever something is about to be sent.

    A browser sends fifty packets of sound a second, so half a second without anything means that the link is cut. A
    caller who only listens answers our events, and sends a report every few seconds: its quiet tells nothing.

    A link that comes back has either lost what was under way, or held it. Both directions fare alike, so the caller's
    own packets tell: if those of the quiet time come after all, our own have arrived too.
    """

    def __init__(self, now: float) -> None:
        self._beat = now
        self._sound_at = now
        self._steady_since = now
        self._sounds = 0  # until the last sign of life
        self._gap_sec = 0.0  # in front of the last sound
        self._missing = False
        self._returned_at: float | None = None
        self._quiet_sec = 0.0  # how long the caller was missing

    def look(self, heard_at: float | None, sounds: int, now: float) -> Sign:
        """The last datagram so far came at ``heard_at``; ``sounds`` of all were sound."""
        if self._missing:
            return self._look_for_return(heard_at, sounds, now)
        if heard_at is not None and heard_at > self._beat:
            self._note(heard_at, sounds)
            return "alive"
        if not self._steady:
            return "alive"
        self._missing = self.quiet_sec(now) > max(HOLD_SEC, 2 * self._gap_sec + LATE_SEC)
        return "missing" if self._missing else "waiting"

    def _note(self, heard_at: float, sounds: int) -> None:
        if sounds > self._sounds:
            self._gap_sec, self._sound_at = heard_at - self._sound_at, heard_at
            if self._gap_sec > STEADY_GAP_SEC:
                self._steady_since = heard_at
        self._beat, self._sounds = heard_at, sounds

    @property
    def _steady(self) -> bool:
        """Whether the caller sent sound without a pause until the last sign of life."""
        return self._beat - self._sound_at <= STEADY_GAP_SEC and self._sound_at - self._steady_since >= STEADY_SEC

    def _look_for_return(self, heard_at: float | None, sounds: int, now: float) -> Sign:
        if self._returned_at is None:
            if heard_at is None or heard_at <= self._beat:
                return "missing"
            self._returned_at, self._quiet_sec = now, heard_at - self._beat
        if now - self._returned_at < RETURN_SEC:
            return "returning"
        came = sounds - self._sounds
        self._missing, self._returned_at = False, None
        self._note(heard_at or now, sounds)
        return "delayed" if came >= self._quiet_sec * SOUNDS_PER_SEC / 2 else "lost"

    def quiet_sec(self, now: float) -> float:
        """Since the last sign of life."""
        return now - self._beat
