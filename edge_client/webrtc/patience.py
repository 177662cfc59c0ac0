"""How long a missing packet is worth waiting for."""

from __future__ import annotations

LONGEST_SEC = 0.060  # a packet later than this is not waited for, however often it happens
HALF_LIFE_SEC = 2.0  # what happened this long ago counts half
WORTH = 0.02  # wait so long that at most this share of the packets comes later still
BEGINNING_SEC = 0.020  # before anything is known
_BEGINNING_WEIGHT = 10  # in packets: enough to count for the first six seconds of a call
_BIN_SEC = 0.002
_MOST_DOUBLINGS = 100.0  # of the weight, before all are made small again


class Patience:
    """Learns from the packets that came after a later one. Where the network keeps the order it is 0.

    Kept as a histogram of lateness in which newer packets weigh more, doubling every `HALF_LIFE_SEC`.
    """

    def __init__(self) -> None:
        self._bins = [0.0] * round(LONGEST_SEC / _BIN_SEC)
        self._bins[round(BEGINNING_SEC / _BIN_SEC) - 1] = _BEGINNING_WEIGHT
        self._total = float(_BEGINNING_WEIGHT)
        self._since: float | None = None  # when a packet weighed 1

    def arrived(self, now: float) -> None:
        """A packet has come, in order or not."""
        weight = self._weight(now)  # first: it may make all that was added before smaller
        self._total += weight

    def came_late(self, lateness_sec: float, now: float) -> None:
        """It has come so long after one that was sent later."""
        index, weight = int(lateness_sec / _BIN_SEC), self._weight(now)
        if 0 <= index < len(self._bins):
            self._bins[index] += weight

    def wait_sec(self) -> float:
        """How long to wait for a packet after a later one has come."""
        still_later, worth = 0.0, self._total * WORTH
        for index in range(len(self._bins) - 1, -1, -1):
            still_later += self._bins[index]
            if still_later > worth:
                return (index + 1) * _BIN_SEC
        return 0.0

    def _weight(self, now: float) -> float:
        if self._since is None:
            self._since = now
        age = (now - self._since) / HALF_LIFE_SEC
        if age > _MOST_DOUBLINGS:
            self._rescale(2.0 ** -min(age, 2 * _MOST_DOUBLINGS))
            self._since, age = now, 0.0
        weight: float = 2.0**age
        return weight

    def _rescale(self, factor: float) -> None:
        self._bins = [value * factor for value in self._bins]
        self._total *= factor
