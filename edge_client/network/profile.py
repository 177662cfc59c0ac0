"""What a network does to the packets of one direction, and the named networks to measure on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from routing.errors import InvalidRequest


def _check(fits: bool, what: str, expected: str, got: object) -> None:
    if not fits:
        raise InvalidRequest(f"expected {what} to be {expected}, got {got!r}", param=what)


@dataclass(frozen=True, slots=True)
class Cut:
    """For ``duration_sec`` nothing gets through; ``at_sec`` is counted from the link's first packet."""

    at_sec: float
    duration_sec: float

    def __post_init__(self) -> None:
        _check(self.at_sec >= 0, "at_sec", "0 or more", self.at_sec)
        _check(self.duration_sec > 0, "duration_sec", "more than 0", self.duration_sec)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkProfile:
    """One direction of a network; a call has the same in both. What is not said is perfect."""

    name: str
    delay_ms: float = 0.0
    jitter_ms: float = 0.0  # uniform: the delay is anything from `delay_ms` less this to `delay_ms` plus this
    loss: float = 0.0  # how many of all packets are lost on the way, 0 to 1
    burst: float = 0.0  # how likely one is lost right after another was; up to `loss` it makes no difference
    rate_kbps: float | None = None  # None: no limit
    queue_ms: float = 200.0  # a packet that would wait longer for its turn at `rate_kbps` is dropped
    reorder: bool = False  # whether a quick packet may overtake a slow one; else the slow one holds it back
    cuts: tuple[Cut, ...] = ()

    def __post_init__(self) -> None:
        _check(self.delay_ms >= 0, "delay_ms", "0 or more", self.delay_ms)
        _check(0 <= self.jitter_ms <= self.delay_ms, "jitter_ms", f"0 to delay_ms ({self.delay_ms})", self.jitter_ms)
        _check(0 <= self.loss <= 1, "loss", "0 to 1", self.loss)
        _check(0 <= self.burst < 1, "burst", "0 to less than 1", self.burst)
        _check(self.rate_kbps is None or self.rate_kbps > 0, "rate_kbps", "more than 0", self.rate_kbps)
        _check(self.queue_ms >= 0, "queue_ms", "0 or more", self.queue_ms)


CLEAN = NetworkProfile(name="clean")
"""Nothing is added: whatever is measured is the programs' own."""

LAN = NetworkProfile(name="lan", delay_ms=0.5, jitter_ms=0.2)
"""A switch or two of Gigabit Ethernet: a round trip of one millisecond, and nothing that a voice would notice."""

WIFI = NetworkProfile(name="wifi", delay_ms=12, jitter_ms=8, loss=0.01, burst=0.3, rate_kbps=20_000, queue_ms=100)
"""A shared access point at home and a server in the same country.

About 20 ms to a near data centre and back is usual for cable and fibre. The access point repeats what a neighbour
disturbed, which turns most loss into a few milliseconds of jitter; what it gives up on is lost in short bursts. 1 % is
a busy evening two rooms away, not a bad day.
"""

LTE = NetworkProfile(name="4g", delay_ms=35, jitter_ms=15, loss=0.01, burst=0.3, rate_kbps=12_000, queue_ms=200)
"""A telephone at rest. Delay and rate are those of WebPageTest's "LTE" (70 ms round trip, 12 Mbit/s each way).

It adds neither jitter nor loss. Here the jitter is that of the uplink's grants and retransmissions (some 8 ms each),
and the loss what is left over after them.
"""

UMTS = NetworkProfile(name="3g", delay_ms=150, jitter_ms=40, loss=0.02, burst=0.4, rate_kbps=768, queue_ms=500)
"""A telephone with one bar. Delay and rate are those of WebPageTest's "3G" (300 ms round trip, 768 kbit/s up).

Its deep queues (half a second) are what made voice over 3G hard: a page that loads beside the call delays the call.
"""

TRAIN = NetworkProfile(
    name="train",
    delay_ms=60,
    jitter_ms=30,
    loss=0.03,
    burst=0.4,
    rate_kbps=3_000,
    queue_ms=300,
    cuts=(Cut(at_sec=10.0, duration_sec=5.0),),
)
"""4G on the move: handovers make it slower and less even, and a tunnel cuts it for 5 s (280 m at 200 km/h).

That is longer than the 3 s after which a peer is suspected and shorter than the 10 s after which it is given up: the
connection itself may live through it.
"""

OUTAGE = NetworkProfile(
    name="outage",
    delay_ms=35,
    jitter_ms=15,
    loss=0.01,
    burst=0.3,
    rate_kbps=12_000,
    queue_ms=200,
    cuts=(Cut(at_sec=10.0, duration_sec=20.0),),
)
"""4G that is gone for 20 s: longer than the 10 s after which a peer is given up, well within the 60 s in which a
session can be taken up again. Only a new connection brings the call back.
"""

PROFILES: Mapping[str, NetworkProfile] = MappingProxyType(
    {profile.name: profile for profile in (CLEAN, LAN, WIFI, LTE, UMTS, TRAIN, OUTAGE)}
)


def find_profile(name: str) -> NetworkProfile:
    """The network of this name.

    Raises:
        InvalidRequest: there is none.
    """
    _check(name in PROFILES, "network", f"one of {', '.join(PROFILES)}", name)
    return PROFILES[name]
