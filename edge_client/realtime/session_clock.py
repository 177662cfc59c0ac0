"""When a session has lasted too long, or nobody has used it for too long. Sans-I/O; time is passed in, in seconds."""

from __future__ import annotations

from typing import NamedTuple

from edge_client.limits import LimitSettings
from edge_client.session_events import (
    PlayoutCleared,
    PlayoutStarted,
    PlayoutStopped,
    ReplyAudio,
    ReplyDone,
    ReplyStarted,
    SessionEvent,
    UserStarted,
    UserStopped,
)
from routing.turns import REPLY_SAMPLE_RATE


class Farewell(NamedTuple):
    """Why a session ends: a code of the protocol's errors, and a sentence."""

    code: str
    message: str


class SessionClock:
    """Told what happens in a session that goes on from ``now``, after ``lasted_sec``; 0 in the settings is no limit.

    Idle is who neither speaks nor asks for anything, while nothing is answered or played to them.
    """

    def __init__(self, settings: LimitSettings, *, now: float, lasted_sec: float = 0.0) -> None:
        self._settings = settings
        self._began_at = now - lasted_sec
        self._stirred_at = now
        self._going_on: set[str] = set()  # of speech, reply and playout
        self._played_until = now  # by a client that plays by itself

    def asked(self, now: float) -> None:
        """The client has asked for something."""
        self._stirred_at = now

    def happened(self, event: SessionEvent, now: float) -> None:
        """Something has come of it."""
        self._stirred_at = now
        match event:
            case UserStarted():
                self._going_on.add("speech")
            case UserStopped():
                self._going_on.discard("speech")
            case ReplyStarted():
                self._going_on.add("reply")
            case ReplyDone():
                self._going_on.discard("reply")
            case PlayoutStarted():
                self._going_on.add("playout")
            case PlayoutStopped() | PlayoutCleared():
                self._going_on.discard("playout")
            case ReplyAudio(samples=samples):
                self._played_until = max(self._played_until, now) + len(samples) / REPLY_SAMPLE_RATE
            case _:
                pass

    def lasted_sec(self, now: float) -> float:
        """How long the session has gone on, here and before."""
        return now - self._began_at

    def farewell(self, now: float) -> Farewell | None:
        """Why the session should end now; None where it should not."""
        longest_sec, idle_sec = self._settings.longest_session_sec, self._settings.idle_sec
        if longest_sec and now >= self._began_at + longest_sec:
            return Farewell("session_expired", f"expected a session of at most {longest_sec:g} seconds, it was as long")
        if idle_sec and now >= self._idle_since(now) + idle_sec:
            return Farewell("session_idle", f"expected something said or asked for within {idle_sec:g} seconds")
        return None

    def look_again_at(self, now: float) -> float | None:
        """When there may be a reason next; None where there never will be."""
        settings = self._settings
        times = []
        if settings.longest_session_sec:
            times.append(self._began_at + settings.longest_session_sec)
        if settings.idle_sec:
            times.append(self._idle_since(now) + settings.idle_sec)
        return min(times, default=None)

    def _idle_since(self, now: float) -> float:
        return now if self._going_on else max(self._stirred_at, min(self._played_until, now))
