"""One direction of a bad network, as a decision: when does each packet arrive, if it does?"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from edge_client.network.profile import NetworkProfile


@dataclass(frozen=True, slots=True)
class LinkStatistics:
    """What became of the packets so far."""

    sent: int  # all of them; those not counted below got through
    lost: int  # on the way, as the profile says
    overflowed: int  # dropped because too many waited already
    cut: int  # sent while the link was cut

    @property
    def passed(self) -> int:
        return self.sent - self.lost - self.overflowed - self.cut


class Link:
    """Packets go through a queue at the link's rate, then over a way with loss, delay and jitter.

    Equal seeds do equal things to equal packets. Time is passed in and must never go back; nothing here waits.
    """

    def __init__(self, profile: NetworkProfile, *, seed: int) -> None:
        self._profile = profile
        self._random = Random(seed)
        self._losses = _Losses(profile.loss, profile.burst, self._random)
        self._began_at: float | None = None
        self._cut = False
        self._free_at = 0.0  # when the queue is empty
        self._last_due = 0.0
        self._counts = dict.fromkeys(("sent", "lost", "overflowed", "cut"), 0)

    def send(self, size: int, now: float) -> float | None:
        """A packet of ``size`` bytes, headers and all, sets out ``now``. Returns when it arrives, or None: never."""
        self._counts["sent"] += 1
        left_at = None if self._is_cut(now) else self._leave_queue(size, now)
        # The queue comes first: a packet that is lost on the way has taken its time there.
        if left_at is None or self._is_lost():
            return None
        return self._arrive(left_at)

    def cut(self) -> None:
        """Let nothing through from now on; what is on its way arrives. Whatever else is set stays as it is."""
        self._cut = True

    def restore(self) -> None:
        """Undo `cut`. A cut that the profile has planned is not undone."""
        self._cut = False

    def statistics(self) -> LinkStatistics:
        return LinkStatistics(**self._counts)

    def _is_cut(self, now: float) -> bool:
        if self._began_at is None:
            self._began_at = now
        passed = now - self._began_at
        planned = any(cut.at_sec <= passed < cut.at_sec + cut.duration_sec for cut in self._profile.cuts)
        self._counts["cut"] += self._cut or planned
        return self._cut or planned

    def _leave_queue(self, size: int, now: float) -> float | None:
        """When the last bit of the packet is on its way, or None if the queue is too long already."""
        if self._profile.rate_kbps is None:
            return now
        begins_at = max(now, self._free_at)
        if begins_at - now > self._profile.queue_ms / 1000:
            self._counts["overflowed"] += 1
            return None
        self._free_at = begins_at + size * 8 / (self._profile.rate_kbps * 1000)
        return self._free_at

    def _is_lost(self) -> bool:
        lost = self._losses.next()
        self._counts["lost"] += lost
        return lost

    def _arrive(self, left_at: float) -> float:
        jitter_ms = self._random.uniform(-self._profile.jitter_ms, self._profile.jitter_ms)
        due = left_at + (self._profile.delay_ms + jitter_ms) / 1000
        if not self._profile.reorder:
            due = self._last_due = max(due, self._last_due)
        return due


class _Losses:
    """Loss in bursts (Gilbert and Elliott's two states): all is lost in the bad one, nothing in the good one."""

    def __init__(self, mean: float, burst: float, random: Random) -> None:
        self._random = random
        self._stay = max(burst, mean)  # as likely as the mean: the packets have nothing to do with each other
        self._begin = mean if mean == 1 else mean * (1 - self._stay) / (1 - mean)  # so that `mean` of all are lost
        self._bad = random.random() < mean

    def next(self) -> bool:
        """Whether the next packet is lost."""
        lost = self._bad
        self._bad = self._random.random() < (self._stay if lost else self._begin)
        return lost
