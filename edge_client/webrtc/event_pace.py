"""How fast one session's events are read. Sans-I/O; time is passed in, in seconds."""

from __future__ import annotations

from edge_client.webrtc.budget import Budget

SAVED_SEC = 10.0  # how much of its rate a client may save up: it may tell a whole conversation at the beginning
SOUND_PER_SEC = 1000.0  # events with sound; a client sends ten to fifty, and a recording may come faster
LONGEST_FLOOD_SEC = 60.0


class EventPace:
    """Events beyond ``per_sec`` are not refused and not kept: the next one is read later, and the sender has to wait.

    Sound has a pace of its own, so that it is not slowed by other events.
    """

    def __init__(self, *, per_sec: float) -> None:
        self._events = _pace(per_sec)
        self._sound = _pace(SOUND_PER_SEC if per_sec else 0.0)
        self._flooded_since: float | None = None

    def read(self, now: float, *, is_sound: bool) -> float:
        """An event was read; returns how many seconds to wait until the next one may be."""
        if is_sound:
            return _wait_sec(self._sound, now)
        wait_sec = _wait_sec(self._events, now)
        if wait_sec and self._flooded_since is None:
            self._flooded_since = now
        elif self._events and self._flooded_since is not None and self._has_calmed(self._events, now):
            self._flooded_since = None
        return wait_sec

    def _has_calmed(self, events: Budget, now: float) -> bool:
        """A tenth of what can be saved is there again."""
        return not events.wait_sec(now, events.most / SAVED_SEC)

    @property
    def is_flooded(self) -> bool:
        """Whether the client sends more than it may."""
        return self._flooded_since is not None

    def flood_sec(self, now: float) -> float:
        """How long the client has sent more than it may, without a break; 0 where it does not."""
        return 0.0 if self._flooded_since is None else now - self._flooded_since


def _pace(per_sec: float) -> Budget | None:
    return Budget(per_sec=per_sec, saved=per_sec * SAVED_SEC) if per_sec else None


def _wait_sec(budget: Budget | None, now: float) -> float:
    if budget is None:
        return 0.0
    budget.charge(now)
    return budget.wait_sec(now, units=0)
